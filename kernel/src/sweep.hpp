// Scoring a block of rows by sweeping: every node of a tree is compared for the whole block at once, children before parents.
//
// A lane holds a row's leaf number in one or two bytes. Each node picks its right child's lanes where the row goes right, else
// its left child's; the root ends with each row's leaf. No pointer is followed and there is no branch: a tree of 63 leaves costs
// about 62 * 5 instructions for 64 rows, where walking costs about 8.5 * 7 for one. (Bit vectors over leaves, as in
// V-QuickScorer, Lucchese et al. 2016, need one 64-bit word per row instead of a byte.)
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "ranks.hpp"
#include "scratch.hpp"
#include "sums.hpp"
#include "sweep_lanes.hpp"
#include "sweep_tables.hpp"

namespace mlrf::MLRF_LEVEL {

// Write the leaf numbers below the middle of the slots, once in the lifetime of a scratch.
template <typename Lane>
void prepare_slots(const Forest& f, const SweepScratch& scratch) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    Lane* middle = static_cast<Lane*>(scratch.slots) + f.max_leaves * kRows;
    for (std::size_t leaf = 0; leaf < f.max_leaves; ++leaf)
        for (std::size_t row = 0; row < kRows; ++row)
            middle[-static_cast<std::ptrdiff_t>((leaf + 1) * kRows) + static_cast<std::ptrdiff_t>(row)] =
                static_cast<Lane>(leaf);
}

// Values of one feature for a block of rows, as they are ranked.
template <typename Lane>
struct RankedValues {
    double x[kSweepRows<Lane>] = {};  // 0 for NaN and for lanes without a row
    std::uint32_t ranks[kSweepRows<Lane>];
    unsigned char is_nan[kSweepRows<Lane>] = {}, is_zero[kSweepRows<Lane>] = {};
};

// Fill the columns of one numeric feature, columns[c][kRows], from its values in n_rows rows, values[row * stride].
template <typename Lane, typename Value>
void fill_numeric_feature(const Forest& f, const NumericFeature& record, const Value* values, std::size_t stride, std::size_t n_rows,
                          RankedValues<Lane>& ranked, Lane* columns) {
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    constexpr Unsigned kOffset = static_cast<Unsigned>(kBias<Lane>);
    for (std::size_t row = 0; row < n_rows; ++row) {
        const double value = read_value(f, values[row * stride]);
        ranked.is_nan[row] = value != value;
        ranked.x[row] = value != value ? 0.0 : value;
        ranked.is_zero[row] = ranked.x[row] >= -kZeroBand && ranked.x[row] <= kZeroBand;
    }
    count_below_block(f.thresholds.data + record.first_threshold, record.n_thresholds, ranked.x, n_rows, ranked.ranks);
    for (std::size_t c = 0; c < record.n_columns; ++c) {
        const std::uint8_t rule = f.column_rules[record.first_column - 1 + c];
        Lane* out = columns + c * kRows;
        const Unsigned side = rule == kNanRight || rule == kZeroRight ? static_cast<Unsigned>(~Unsigned{0}) : Unsigned{0};
        const unsigned char nan_counts = rule != kNanIsZero, zero_counts = rule == kZeroLeft || rule == kZeroRight;
        for (std::size_t row = 0; row < n_rows; ++row) {
            const bool is_missing = ((ranked.is_nan[row] & nan_counts) | (ranked.is_zero[row] & zero_counts)) != 0;
            out[row] = static_cast<Lane>((is_missing ? side : static_cast<Unsigned>(ranked.ranks[row])) + kOffset);
        }
    }
}

// Fill column 0 and those of the first n_records numeric features from rows of `stride` values.
template <typename Lane, typename Value>
void fill_numeric_block(const Forest& f, std::size_t n_records, const Value* values, std::size_t stride, std::size_t n_rows,
                        Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    RankedValues<Lane> ranked;
    for (std::size_t row = 0; row < kRows; ++row) columns[row] = kBias<Lane>;
    for (std::size_t i = 0; i < n_records; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        fill_numeric_feature(f, record, values + record.feature, stride, n_rows, ranked, columns + record.first_column * kRows);
    }
}

#if defined(__AVX2__)
#define MLRF_BYTE_SHUFFLE
// Columns of a dense feature: a byte shuffle looks up the byte of a set's bits with the row's code, and a mask picks the bit.
template <typename Lane>
void fill_dense_columns(const Forest& f, const CategoryFeature& record, const unsigned char* indices, Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const std::size_t first = record.first_column - f.first_category_column;
    __m256i byte[kRows / 32], bit[kRows / 32];
    const __m256i powers = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
    for (std::size_t g = 0; g < kRows / 32; ++g) {
        const __m256i index = _mm256_load_si256(reinterpret_cast<const __m256i*>(indices + 32 * g));
        byte[g] = _mm256_and_si256(_mm256_srli_epi16(index, 3), _mm256_set1_epi8(15));
        bit[g] = _mm256_shuffle_epi8(powers, _mm256_and_si256(index, _mm256_set1_epi8(7)));
    }
    for (std::size_t c = 0; c < record.n_columns; ++c) {
        const __m256i bits = _mm256_broadcastsi128_si256(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(f.set_bits.data + (first + c) * kSetBytes)));
        Lane* out = columns + (record.first_column + c) * kRows;
        for (std::size_t g = 0; g < kRows / 32; ++g) {
            // -1 where the row goes right.
            const __m256i right = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, byte[g]), bit[g]), bit[g]);
            __m256i* target = reinterpret_cast<__m256i*>(out + 32 * g);
            if (sizeof(Lane) == 1) {
                _mm256_store_si256(target, _mm256_sub_epi8(_mm256_set1_epi8(-128), right));
            } else {
                const __m256i bias = _mm256_set1_epi16(-32768);
                _mm256_store_si256(target, _mm256_sub_epi16(bias, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(right))));
                const __m256i upper = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(right, 1));
                _mm256_store_si256(target + 1, _mm256_sub_epi16(bias, upper));
            }
        }
    }
}
#endif

// A set's column is computed by subtracting the rows of each code in the set: a few vector subtractions per set instead of a
// look-up per row and set.
template <typename Lane, typename Value>
void fill_category_block(const Forest& f, const Value* values, std::size_t stride, std::size_t n_rows, const SweepScratch& scratch) {
    // Unsigned, so that a file whose set names a code twice wraps instead of overflowing.
    typedef typename Lanes<Lane>::UnsignedVector Vector;
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    constexpr std::size_t kGroups = kSweepBytes / sizeof(Vector);
    constexpr std::size_t kLanes = sizeof(Vector) / sizeof(Lane);
    Lane* code_rows = static_cast<Lane*>(scratch.code_rows);
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
#if defined(MLRF_BYTE_SHUFFLE)
        if (record.n_codes <= kDenseCodes) {
            unsigned char indices[kRows] __attribute__((aligned(64))) = {};
            for (std::size_t row = 0; row < n_rows; ++row)
                indices[row] = static_cast<unsigned char>(
                    find_code_index(f, record, read_value(f, values[row * stride + record.feature])));
            fill_dense_columns<Lane>(f, record, indices, static_cast<Lane*>(scratch.columns));
            continue;
        }
#endif
        std::uint32_t codes[kRows];
        Lane nan_rows[kRows] __attribute__((aligned(64))) = {};
        std::size_t n_codes = 0;
        for (std::size_t row = 0; row < n_rows; ++row) {
            const double x = read_value(f, values[row * stride + record.feature]);
            nan_rows[row] = x != x;
            const std::size_t index = find_code(f.category_codes.data + record.first_code, record.n_codes, f.no_code_up_to, x);
            if (index == record.n_codes) continue;
            const std::size_t code = record.first_code + index;
            if (scratch.code_slots[code] == 0) {
                codes[n_codes++] = static_cast<std::uint32_t>(code);
                scratch.code_slots[code] = static_cast<unsigned char>(n_codes);
                for (std::size_t r = 0; r < kRows; ++r) code_rows[n_codes * kRows + r] = 0;
            }
            code_rows[scratch.code_slots[code] * kRows + row] = 1;
        }
        const Vector* nan = reinterpret_cast<const Vector*>(nan_rows);
        for (std::size_t c = 0; c < record.n_columns; ++c) {
            const std::size_t index = record.first_column - f.first_category_column + c;
            Vector* out = reinterpret_cast<Vector*>(static_cast<Lane*>(scratch.columns) + (record.first_column + c) * kRows);
            Vector sum[kGroups];
            const Unsigned side_of_nan = static_cast<Unsigned>(1 - f.category_defaults[index]);
            for (std::size_t g = 0; g < kGroups; ++g)
                for (std::size_t lane = 0; lane < kLanes; ++lane) sum[g][lane] = static_cast<Unsigned>(kBias<Lane> + 1);
            for (std::size_t g = 0; g < kGroups; ++g) sum[g] -= nan[g] * side_of_nan;
            for (std::size_t s = f.set_offsets[index]; s < f.set_offsets[index + 1]; ++s) {
                const Vector* rows = reinterpret_cast<const Vector*>(code_rows + scratch.code_slots[f.set_codes[s]] * kRows);
                for (std::size_t g = 0; g < kGroups; ++g) sum[g] -= rows[g];
            }
            for (std::size_t g = 0; g < kGroups; ++g) out[g] = sum[g];
        }
        for (std::size_t code = 0; code < n_codes; ++code) scratch.code_slots[codes[code]] = 0;
    }
}

// Sweep one tree; returns each row's leaf number.
template <typename Lane>
const typename Lanes<Lane>::Unsigned* sweep_tree(const TreeRecord& tree, const SweepNode* nodes, const Lane* columns,
                                                 Lane* middle) {
    typedef typename Lanes<Lane>::Vector Vector;
    constexpr std::ptrdiff_t kRows = kSweepRows<Lane>;
    constexpr std::size_t kGroups = kSweepBytes / sizeof(Vector);
    Lane* out = middle;
    const std::size_t n_nodes = tree.n_leaves - 1;
    std::size_t i = 0;
    // First come nodes over two leaves, whose numbers need not be read: the slots of a deep tree do not fit the nearest cache.
    for (; i < n_nodes && (nodes[i].left & nodes[i].right) < 0; ++i, out += kRows) {
        const SweepNode node = nodes[i];
        const Vector* column = reinterpret_cast<const Vector*>(columns + node.column * kRows);
        const Vector left = Vector{} + static_cast<Lane>(-1 - node.left);
        const Vector right = Vector{} + static_cast<Lane>(-1 - node.right);
        const Vector rank = Vector{} + static_cast<Lane>(node.rank);
        for (std::size_t g = 0; g < kGroups; ++g) reinterpret_cast<Vector*>(out)[g] = column[g] > rank ? right : left;
    }
    for (; i < n_nodes; ++i, out += kRows) {
        const SweepNode node = nodes[i];
        const Vector* column = reinterpret_cast<const Vector*>(columns + node.column * kRows);
        const Vector* left = reinterpret_cast<const Vector*>(middle + node.left * kRows);
        const Vector* right = reinterpret_cast<const Vector*>(middle + node.right * kRows);
        const Vector rank = Vector{} + static_cast<Lane>(node.rank);
        for (std::size_t g = 0; g < kGroups; ++g) reinterpret_cast<Vector*>(out)[g] = column[g] > rank ? right[g] : left[g];
    }
    return reinterpret_cast<const typename Lanes<Lane>::Unsigned*>(n_nodes == 0 ? middle - kRows : out - kRows);
}

// The same for a symmetric tree: each level's decision is the next bit of the leaf number.
template <typename Lane>
const typename Lanes<Lane>::Unsigned* number_leaves(const SymmetricLevel* first, const SymmetricLevel* end, const Lane* columns,
                                                    Lane* middle) {
    typedef typename Lanes<Lane>::Vector Vector;
    typedef typename Lanes<Lane>::UnsignedVector UnsignedVector;  // a tree may have as many leaves as a lane has numbers
    constexpr std::size_t kRows = kSweepRows<Lane>;
    constexpr std::size_t kGroups = kSweepBytes / sizeof(Vector);
    UnsignedVector leaf[kGroups] = {};
    for (const SymmetricLevel* level = first; level != end; ++level) {
        const Vector* column = reinterpret_cast<const Vector*>(columns + level->column * kRows);
        const Vector rank = Vector{} + static_cast<Lane>(level->rank);
        // A true comparison is -1.
        for (std::size_t g = 0; g < kGroups; ++g) leaf[g] = leaf[g] + leaf[g] - reinterpret_cast<UnsignedVector>(column[g] > rank);
    }
    for (std::size_t g = 0; g < kGroups; ++g) reinterpret_cast<UnsignedVector*>(middle)[g] = leaf[g];
    return reinterpret_cast<const typename Lanes<Lane>::Unsigned*>(middle);
}

// Trees whose leaves are added in one pass over the sums, each row's in the order of the trees.
constexpr std::size_t kSummedTrees = 4;

template <typename Lane, std::size_t kTrees>
void add_trees(bool in_float32, const typename Lanes<Lane>::Unsigned (*leaves)[kSweepRows<Lane>], const double* const* values,
               double* sums) {
    if (in_float32) {
        for (std::size_t row = 0; row < kSweepRows<Lane>; ++row) {
            float sum = static_cast<float>(sums[row]);
            for (std::size_t i = 0; i < kTrees; ++i) sum += static_cast<float>(values[i][leaves[i][row]]);
            sums[row] = sum;
        }
    } else {
        for (std::size_t row = 0; row < kSweepRows<Lane>; ++row) {
            double sum = sums[row];
            for (std::size_t i = 0; i < kTrees; ++i) sum += values[i][leaves[i][row]];
            sums[row] = sum;
        }
    }
}

// Margins of at most kSweepRows rows, margins[row * K + k]; bit for bit the result of a walk. With `tables` the rows are as given
// and the columns of the tables are filled, and else their tables have been looked up.
template <typename Lane, typename Value>
void sweep_block(const Forest& f, const RankedTables* tables, const Value* values, std::size_t n_rows, const SweepScratch& scratch,
                 double* margins) {
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    Lane* columns = static_cast<Lane*>(scratch.columns);
    Lane* middle = static_cast<Lane*>(scratch.slots) + f.max_leaves * kRows;
    const std::size_t stride = tables != nullptr ? f.n_features : f.n_inputs;
    fill_numeric_block<Lane>(f, tables != nullptr ? tables->n_given : f.numeric_features.count, values, stride, n_rows, columns);
    fill_category_block<Lane>(f, values, stride, n_rows, scratch);
    for (std::size_t k = 0; k < f.n_outputs; ++k)
        for (std::size_t row = 0; row < kRows; ++row)
            scratch.sums[k * kRows + row] = start_sum(f, k);
    alignas(64) Unsigned leaves[kSummedTrees][kRows];
    const double* values_of_leaves[kSummedTrees];
    std::size_t n_summed = 0;
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const TreeRecord& tree = f.trees[t];
        const SymmetricLevel* levels = scratch.symmetric.levels + scratch.symmetric.first_level[t];
        const SymmetricLevel* end = scratch.symmetric.levels + scratch.symmetric.first_level[t + 1];
        const Unsigned* leaf = levels == end ? sweep_tree<Lane>(tree, f.sweep_nodes.data + tree.first_sweep, columns, middle)
                                             : number_leaves<Lane>(levels, end, columns, middle);
        for (std::size_t row = 0; row < kRows; ++row) leaves[n_summed][row] = leaf[row];
        values_of_leaves[n_summed++] = f.leaf_values.data + tree.first_value;
        if (n_summed < kSummedTrees && t + 1 < f.n_trees && f.trees[t + 1].output == tree.output) continue;
        double* sums = scratch.sums + tree.output * kRows;
        const bool in_float32 = is_float32_sum(f, tree.output);
        if (n_summed == kSummedTrees)
            add_trees<Lane, kSummedTrees>(in_float32, leaves, values_of_leaves, sums);
        else
            for (std::size_t i = 0; i < n_summed; ++i) add_trees<Lane, 1>(in_float32, leaves + i, values_of_leaves + i, sums);
        n_summed = 0;
    }
    for (std::size_t row = 0; row < n_rows; ++row)
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            margins[row * f.n_outputs + k] = finish_sum(f, k, scratch.sums[k * kRows + row]);
}

// Margins of at most kTableBlocks blocks of rows as they are given.
template <typename Lane, typename Value>
void sweep_table_blocks(const Forest& f, const RankedTables& tables, const Value* values, std::size_t n_rows, const SweepScratch& scratch,
                        double* margins) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    fill_table_columns<Lane>(f, tables, values, n_rows, scratch.keys, static_cast<Lane*>(scratch.columns));
    SweepScratch block = scratch;
    for (std::size_t row = 0; row < n_rows; row += kRows) {
        const std::size_t n = n_rows - row < kRows ? n_rows - row : kRows;
        sweep_block<Lane>(f, &tables, values + row * f.n_features, n, block, margins + row * f.n_outputs);
        block.columns = static_cast<Lane*>(block.columns) + f.n_columns * kRows;
    }
}

}  // namespace mlrf::MLRF_LEVEL
