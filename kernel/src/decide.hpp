// Scoring packed trees (packed.hpp) without permutations of 64 bytes: shuffles of 16 bytes bring each node its column, one comparison
// decides 32 nodes, and each node's next node is stored. A step of a path then reads one byte from 64 at a fixed address, and nothing
// else; the paths of several blocks are followed in lockstep.
#pragma once

#include <immintrin.h>

#include "forest.hpp"
#include "packed.hpp"
#include "packed_columns.hpp"
#include "walk.hpp"

namespace mlrf::MLRF_LEVEL {

// Blocks whose paths are followed together.
constexpr std::size_t kBlockLanes = 8;

// The byte columns of 32 nodes, from kTables of 16 bytes: the bits above the fourth choose between tables.
template <int kTables>
inline __m256i shuffle_bytes(const __m256i* tables, __m256i columns) {
    if constexpr (kTables == 1) {
        return _mm256_shuffle_epi8(tables[0], columns);
    } else {
        constexpr int kShift = kTables == 2 ? 3 : kTables == 4 ? 2 : 1;
        const __m256i low = shuffle_bytes<kTables / 2>(tables, columns);
        const __m256i high = shuffle_bytes<kTables / 2>(tables + kTables / 2, columns);
        return _mm256_blendv_epi8(low, high, _mm256_slli_epi16(columns, kShift));
    }
}

// Bytes of all ones where a bit is set.
inline __m256i bytes_of(std::uint32_t bits) {
    const __m256i byte_of_lane = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit_of_lane = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201u));
    const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), byte_of_lane);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit_of_lane), bit_of_lane);
}

// Decide 32 nodes of a block and write their next nodes; returns a bit for each that goes right. `categories` are those that a
// category sends right.
template <int kTables, bool kCategories>
inline std::uint32_t decide(const __m256i* tables, const unsigned char* nodes, std::uint32_t categories, unsigned char* next) {
    const auto load = [&](std::size_t part) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(nodes + part * kBlockNodes)); };
    const __m256i ranks = load(1);
    __m256i goes_left = _mm256_cmpeq_epi8(_mm256_max_epu8(shuffle_bytes<kTables>(tables, load(0)), ranks), ranks);
    if constexpr (kCategories) goes_left = _mm256_andnot_si256(bytes_of(categories), goes_left);
    _mm256_store_si256(reinterpret_cast<__m256i*>(next), _mm256_blendv_epi8(load(3), load(2), goes_left));
    return ~static_cast<std::uint32_t>(_mm256_movemask_epi8(goes_left));
}

// Find the leaves of a row in kLanes blocks from block b on.
template <int kTables, bool kCategories, std::size_t kLanes>
inline void score_lanes(const Forest& f, const PackedTrees& p, std::size_t b, const __m256i* tables, const std::uint64_t* masks,
                        double* leaf_of_tree) {
    alignas(32) unsigned char next[kLanes][kBlockNodes];
    std::uint64_t right[kLanes];
    const PackedBlock* blocks = p.blocks + b;
    const unsigned char* nodes = p.nodes + b * 4 * kBlockNodes;
    std::uint32_t n_steps = 0, n_trees = 0;
    for (std::size_t lane = 0; lane < kLanes; ++lane, nodes += 4 * kBlockNodes) {
        std::uint64_t categories = 0;
        if constexpr (kCategories) categories = _pdep_u64(masks[b + lane], blocks[lane].category_nodes);
        const std::uint64_t low = decide<kTables, kCategories>(tables, nodes, static_cast<std::uint32_t>(categories), next[lane]);
        const std::uint64_t high =
            decide<kTables, kCategories>(tables, nodes + 32, static_cast<std::uint32_t>(categories >> 32), next[lane] + 32);
        right[lane] = low | high << 32;
        n_steps = n_steps < blocks[lane].n_steps ? blocks[lane].n_steps : n_steps;
        n_trees = n_trees < blocks[lane].n_trees ? blocks[lane].n_trees : n_trees;
    }
    for (std::uint32_t t = 0; t < n_trees; ++t) {
        // Blocks of fewer trees follow paths that are not read: their other roots are node 0.
        std::uint64_t at[kLanes];
#pragma GCC unroll 16
        for (std::size_t lane = 0; lane < kLanes; ++lane) at[lane] = blocks[lane].roots[t];
        for (std::uint32_t step = 0; step < n_steps; ++step)
#pragma GCC unroll 16
            for (std::size_t lane = 0; lane < kLanes; ++lane) at[lane] = next[lane][at[lane]];
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            if (t < blocks[lane].n_trees)
                leaf_of_tree[blocks[lane].first_tree + t] =
                    f.leaf_values[blocks[lane].first_value + t + at[lane] + (right[lane] >> at[lane] & 1)];
    }
}

template <int kTables, bool kCategories>
void score_decided_row(const Forest& f, const PackedTrees& p, const PackedScratch& scratch) {
    __m256i tables[kTables];
#pragma GCC unroll 8
    for (int t = 0; t < kTables; ++t)
        tables[t] = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(scratch.bytes) + t));
    std::size_t b = 0;
    for (; b + kBlockLanes <= p.n_blocks; b += kBlockLanes)
        score_lanes<kTables, kCategories, kBlockLanes>(f, p, b, tables, scratch.masks, scratch.leaf_of_tree);
    for (; b < p.n_blocks; ++b) score_lanes<kTables, kCategories, 1>(f, p, b, tables, scratch.masks, scratch.leaf_of_tree);
}

template <int kTables>
void score_decided_tables(const Forest& f, const PackedTrees& p, const PackedScratch& scratch) {
    if (f.category_features.count > 0)
        score_decided_row<kTables, true>(f, p, scratch);
    else
        score_decided_row<kTables, false>(f, p, scratch);
}

template <typename Value>
void score_decided_of(const Forest& f, const PackedTrees& p, const Value* values, std::size_t n_rows, const PackedScratch& scratch,
                      double* margins) {
    for (std::size_t row = 0; row < n_rows; ++row, values += f.n_inputs, margins += f.n_outputs) {
        fill_bytes(f, p, values, scratch.bytes);
        fill_masks(f, p, values, scratch.masks);
        if (p.n_bytes <= 32)
            score_decided_tables<2>(f, p, scratch);
        else if (p.n_bytes <= 64)
            score_decided_tables<4>(f, p, scratch);
        else
            score_decided_tables<8>(f, p, scratch);
        add_leaves(f, scratch.leaf_of_tree, margins);
    }
}

}  // namespace mlrf::MLRF_LEVEL
