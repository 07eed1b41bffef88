// Scoring packed trees (packed.hpp): one permutation brings each node of a block its column, one comparison decides all 64 nodes,
// and the paths are followed by composing "the next node" with itself: after d permutations every node knows the node 2^d steps
// below it. No pointer is followed, no branch depends on the row, and the nodes are read in order.
#pragma once

#include <immintrin.h>

#include "forest.hpp"
#include "packed.hpp"
#include "packed_columns.hpp"
#include "sums.hpp"

namespace mlrf::MLRF_LEVEL {

// One register for each 64 byte columns of a row.
template <int kTables>
inline __m512i read_bytes(const __m512i* tables, __m512i columns) {
    if constexpr (kTables == 1) {
        return _mm512_permutexvar_epi8(columns, tables[0]);
    } else if constexpr (kTables == 2) {
        return _mm512_permutex2var_epi8(tables[0], columns, tables[1]);
    } else {
        const __m512i low = _mm512_permutex2var_epi8(tables[0], columns, tables[1]);
        const __m512i high = _mm512_permutex2var_epi8(tables[2], columns, tables[3]);
        return _mm512_mask_blend_epi8(_mm512_movepi8_mask(columns), low, high);
    }
}

template <int kTables, int kRows, bool kCategories, bool kOneOutput, typename Sum>
void score_blocks(const Forest& f, const PackedTrees& p, const PackedScratch& scratch, double* margins) {
    __m512i tables[kRows][kTables];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row)
        for (int t = 0; t < kTables; ++t)
            tables[row][t] = _mm512_load_si512(scratch.bytes + (static_cast<std::size_t>(row) * kTables + static_cast<std::size_t>(t)) * 64);
    const std::size_t n_outputs = f.n_outputs;
    Sum sums[kRows];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
        if constexpr (kOneOutput)
            sums[row] = static_cast<Sum>(start_sum(f, 0));
        else
            for (std::size_t k = 0; k < n_outputs; ++k) margins[static_cast<std::size_t>(row) * n_outputs + k] = start_sum(f, k);
    }
    const auto add = [&](int row, std::uint32_t tree, double value) {
        if constexpr (kOneOutput) {
            sums[row] += static_cast<Sum>(value);
        } else {
            double& sum = margins[static_cast<std::size_t>(row) * n_outputs + f.trees[tree].output];
            sum = static_cast<Sum>(sum) + static_cast<Sum>(value);
        }
    };
    const unsigned char* nodes = p.nodes;
    for (std::size_t b = 0; b < p.n_blocks; ++b, nodes += 4 * kBlockNodes) {
        const PackedBlock& block = p.blocks[b];
        const __m512i columns = _mm512_load_si512(nodes);
        const __m512i ranks = _mm512_load_si512(nodes + kBlockNodes);
        const __m512i left = _mm512_load_si512(nodes + 2 * kBlockNodes);
        const __m512i right = _mm512_load_si512(nodes + 3 * kBlockNodes);
        const __m512i roots = _mm512_zextsi128_si512(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(block.roots)));
        std::uint64_t goes_right[kRows];
        __m512i next[kRows], at[kRows];
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
            goes_right[row] = _mm512_cmpgt_epu8_mask(read_bytes<kTables>(tables[row], columns), ranks);
            if constexpr (kCategories)
                goes_right[row] |= _pdep_u64(scratch.masks[static_cast<std::size_t>(row) * p.n_blocks + b], block.category_nodes);
            next[row] = _mm512_mask_blend_epi8(goes_right[row], left, right);
            at[row] = roots;
        }
#pragma GCC unroll 8
        for (unsigned d = 0; d < kDoublings; ++d)
#pragma GCC unroll 8
            for (int row = 0; row < kRows; ++row) next[row] = _mm512_permutexvar_epi8(next[row], next[row]);
#pragma GCC unroll 8
        for (unsigned stride = 0; stride < 8; ++stride) {
            if (stride == block.n_strides) break;
#pragma GCC unroll 8
            for (int row = 0; row < kRows; ++row) at[row] = _mm512_permutexvar_epi8(at[row], next[row]);
        }
        const double* values = f.leaf_values.data + block.first_value;
        std::uint64_t ends[kRows];
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
            ends[row] = static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm512_castsi512_si128(at[row])));
            const std::uint64_t node = ends[row] & 0xFF;
            add(row, block.first_tree, values[node + (goes_right[row] >> node & 1)]);
        }
        // Trees of 63 leaves fill a block alone: the loop would cost them as much as the leaf does.
        for (std::uint32_t t = 1; t < block.n_trees; ++t)
#pragma GCC unroll 8
            for (int row = 0; row < kRows; ++row) {
                const std::uint64_t node = ends[row] >> 8 * t & 0xFF;
                add(row, block.first_tree + t, values[node + (goes_right[row] >> node & 1) + t]);
            }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row)
        for (std::size_t k = 0; k < n_outputs; ++k) {
            double& margin = margins[static_cast<std::size_t>(row) * n_outputs + k];
            margin = finish_sum(f, k, kOneOutput ? static_cast<double>(sums[row]) : margin);
        }
}

template <int kTables, int kRows, bool kCategories>
void score_as(const Forest& f, const PackedTrees& p, const PackedScratch& scratch, double* margins) {
    if (f.n_outputs == 1 && f.sums_in_float32)
        score_blocks<kTables, kRows, kCategories, true, float>(f, p, scratch, margins);
    else if (f.n_outputs == 1)
        score_blocks<kTables, kRows, kCategories, true, double>(f, p, scratch, margins);
    else if (f.sums_in_float32)
        score_blocks<kTables, kRows, kCategories, false, float>(f, p, scratch, margins);
    else
        score_blocks<kTables, kRows, kCategories, false, double>(f, p, scratch, margins);
}

template <int kTables, int kRows>
void score_tables(const Forest& f, const PackedTrees& p, const PackedScratch& scratch, double* margins) {
    if (f.category_features.count > 0)
        score_as<kTables, kRows, true>(f, p, scratch, margins);
    else
        score_as<kTables, kRows, false>(f, p, scratch, margins);
}

template <int kRows, typename Value>
void score_together(const Forest& f, const PackedTrees& p, const Value* values, const PackedScratch& scratch, double* margins) {
    const std::size_t row_bytes = p.n_bytes <= 64 ? 64 : p.n_bytes <= 128 ? 128 : 256;
    for (std::size_t row = 0; row < kRows; ++row) {
        fill_bytes(f, p, values + row * f.n_inputs, scratch.bytes + row * row_bytes);
        fill_masks(f, p, values + row * f.n_inputs, scratch.masks + row * p.n_blocks);
    }
    if (row_bytes == 64)
        score_tables<1, kRows>(f, p, scratch, margins);
    else if (row_bytes == 128)
        score_tables<2, kRows>(f, p, scratch, margins);
    else
        score_tables<4, kRows>(f, p, scratch, margins);
}

template <typename Value>
void score_packed_of(const Forest& f, const PackedTrees& p, const Value* values, std::size_t n_rows, const PackedScratch& scratch,
                     double* margins) {
    std::size_t row = 0;
    for (; row + kMostPackedRows <= n_rows; row += kMostPackedRows)
        score_together<kMostPackedRows>(f, p, values + row * f.n_inputs, scratch, margins + row * f.n_outputs);
    for (; row < n_rows; ++row) score_together<1>(f, p, values + row * f.n_inputs, scratch, margins + row * f.n_outputs);
}

}  // namespace mlrf::MLRF_LEVEL
