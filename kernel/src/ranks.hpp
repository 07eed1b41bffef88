// Converts a row's values to its columns: each numeric value is ranked once among its feature's thresholds, each category set is
// 0 or 1.
//
// Nodes then compare no doubles and search no sets: a row goes right if the node's column is greater than its rank. Compiled once
// for each instruction set, inside that set's namespace, so nothing here may use library code.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "scratch.hpp"
#include "threshold_tree.hpp"

namespace mlrf::MLRF_LEVEL {

// Count the numbers of a node below x.
#if defined(__AVX512F__)
inline std::uint32_t count_in_node(const float* node, float x) {
    const __mmask16 below = _mm512_cmp_ps_mask(_mm512_load_ps(node), _mm512_set1_ps(x), _CMP_LT_OQ);
    return static_cast<std::uint32_t>(__builtin_popcount(below));
}
inline std::uint32_t count_in_node(const double* node, double x) {
    const __m512d value = _mm512_set1_pd(x);
    const std::uint32_t low = _mm512_cmp_pd_mask(_mm512_load_pd(node), value, _CMP_LT_OQ);
    const std::uint32_t high = _mm512_cmp_pd_mask(_mm512_load_pd(node + 8), value, _CMP_LT_OQ);
    return static_cast<std::uint32_t>(__builtin_popcount(low | high << 8));
}
#elif defined(__AVX2__)
inline std::uint32_t count_in_node(const float* node, float x) {
    const __m256 value = _mm256_set1_ps(x);
    const auto half = [&](std::size_t at) {
        return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(_mm256_load_ps(node + at), value, _CMP_LT_OQ)));
    };
    return static_cast<std::uint32_t>(__builtin_popcount(half(0) | half(8) << 8));
}
inline std::uint32_t count_in_node(const double* node, double x) {
    const __m256d value = _mm256_set1_pd(x);
    const auto quarter = [&](std::size_t at) {
        return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(node + at), value, _CMP_LT_OQ)));
    };
    return static_cast<std::uint32_t>(__builtin_popcount(quarter(0) | quarter(4) << 4 | quarter(8) << 8 | quarter(12) << 12));
}
#else
template <typename Number, typename Count, unsigned kLanes>
std::uint32_t count_in_node_of(const Number* node, Number x) {
    typedef Number Numbers __attribute__((vector_size(16), may_alias));
    typedef Count Counts __attribute__((vector_size(16)));
    const Numbers value = Numbers{} + x;
    Counts counts{};
    // A true comparison is -1.
    for (std::size_t i = 0; i < kNodeThresholds; i += kLanes) counts -= *reinterpret_cast<const Numbers*>(node + i) < value;
    Count sum = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) sum += counts[lane];
    return static_cast<std::uint32_t>(sum);
}
inline std::uint32_t count_in_node(const float* node, float x) { return count_in_node_of<float, std::int32_t, 4>(node, x); }
inline std::uint32_t count_in_node(const double* node, double x) { return count_in_node_of<double, std::int64_t, 2>(node, x); }
#endif

// Count the thresholds of a tree of kLevels below x.
template <unsigned kLevels, typename Number>
__attribute__((always_inline)) inline std::uint32_t count_in_tree(const ThresholdTree& tree, Number x) {
    std::size_t at = 0;
    for (unsigned level = 0; level < kLevels; ++level)
        at = at * kNodeThresholds + count_in_node(static_cast<const Number*>(tree.levels[level]) + at * kNodeThresholds, x);
    return static_cast<std::uint32_t>(at);
}

// The same of any tree. Inlined: for single values, the call took a third of the time.
template <typename Number>
__attribute__((always_inline)) inline std::uint32_t count_in_any_tree(const ThresholdTree& tree, Number x) {
    if (tree.n_levels == 2) return count_in_tree<2>(tree, x);
    return tree.n_levels == 3 ? count_in_tree<3>(tree, x) : count_in_tree<4>(tree, x);
}

// Call `work` with a function that counts the thresholds of a tree below a number: no branch is left in a loop over numbers.
template <typename Number, typename Work>
void with_count_in_tree(const ThresholdTree& tree, const Work& work) {
    if (tree.n_levels == 2)
        work([&](Number x) { return count_in_tree<2>(tree, x); });
    else if (tree.n_levels == 3)
        work([&](Number x) { return count_in_tree<3>(tree, x); });
    else
        work([&](Number x) { return count_in_tree<4>(tree, x); });
}

// Count the thresholds below x, of a feature without a tree.
inline std::uint32_t search_below(const double* thresholds, std::size_t n, double x) {
    if (n == 0) return 0;
    const double* low = thresholds;
    while (n > 1) {
        const std::size_t half = n / 2;
        low += half & -static_cast<std::size_t>(low[half - 1] < x);
        n -= half;
    }
    return static_cast<std::uint32_t>(low - thresholds) + static_cast<std::uint32_t>(*low < x);
}

// search_below for kTogether values at once: their searches overlap (80 cycles a value fell to under 20).
constexpr std::size_t kTogether = 8;
inline void search_below_together(const double* thresholds, std::size_t n, const double* x, std::uint32_t* counts) {
    std::uint32_t low[kTogether] = {};
    if (n == 0) {
        for (std::size_t i = 0; i < kTogether; ++i) counts[i] = 0;
        return;
    }
    std::size_t left = n;
    while (left > 1) {
        const std::uint32_t half = static_cast<std::uint32_t>(left / 2);
        for (std::size_t i = 0; i < kTogether; ++i)
            low[i] += half & -static_cast<std::uint32_t>(thresholds[low[i] + half - 1] < x[i]);
        left -= half;
    }
    for (std::size_t i = 0; i < kTogether; ++i) counts[i] = low[i] + static_cast<std::uint32_t>(thresholds[low[i]] < x[i]);
}

// Rank a value, as read_value returns it and not NaN: the number of its feature's thresholds below it.
inline std::size_t rank_value(const Forest& f, const NumericFeature& record, double x) {
    const ThresholdTree& tree = f.threshold_trees[&record - f.numeric_features.data];
    if (tree.n_levels == 0) return search_below(f.thresholds.data + record.first_threshold, record.n_thresholds, x);
    return f.ranks_in_float32 ? count_in_any_tree(tree, static_cast<float>(x)) : count_in_any_tree(tree, x);
}

// Rank n values. Up to kTogether - 1 further elements of x are read, and of ranks written.
inline void rank_values_together(const Forest& f, const NumericFeature& record, const double* x, std::size_t n, std::uint32_t* ranks) {
    const ThresholdTree& tree = f.threshold_trees[&record - f.numeric_features.data];
    if (tree.n_levels == 0) {
        const double* thresholds = f.thresholds.data + record.first_threshold;
        for (std::size_t i = 0; i < n; i += kTogether) search_below_together(thresholds, record.n_thresholds, x + i, ranks + i);
    } else if (f.ranks_in_float32) {
        with_count_in_tree<float>(tree, [&](const auto& count) {
            for (std::size_t i = 0; i < n; ++i) ranks[i] = count(static_cast<float>(x[i]));
        });
    } else {
        with_count_in_tree<double>(tree, [&](const auto& count) {
            for (std::size_t i = 0; i < n; ++i) ranks[i] = count(x[i]);
        });
    }
}

// The value of a column whose value is missing: 0 goes left at every rank, the greatest number goes right at every rank.
template <typename Column>
Column read_column(std::uint8_t rule, std::size_t rank, bool is_nan, bool is_zero) {
    constexpr Column kRight = static_cast<Column>(~Column{0});
    switch (rule) {
        case kNanLeft:
            return is_nan ? Column{0} : static_cast<Column>(rank);
        case kNanRight:
            return is_nan ? kRight : static_cast<Column>(rank);
        case kZeroLeft:
            return is_nan || is_zero ? Column{0} : static_cast<Column>(rank);
        case kZeroRight:
            return is_nan || is_zero ? kRight : static_cast<Column>(rank);
        default:
            return static_cast<Column>(rank);
    }
}

// A value as the nodes compare it.
template <typename Value>
inline double read_value(const Forest& f, Value value) {
    return f.inputs_in_float32 ? static_cast<double>(static_cast<float>(value)) : static_cast<double>(value);
}

// Find the code that x truncates to among the ascending codes of a feature; returns n_codes if no set contains it.
inline std::size_t find_code(const std::int32_t* codes, std::size_t n_codes, double no_code_up_to, double x) {
    if (!(x > no_code_up_to && x < 2147483648.0)) return n_codes;
    const std::int32_t code = static_cast<std::int32_t>(x);
    std::size_t low = 0;
    for (std::size_t n = n_codes; n > 0;) {
        const std::size_t half = n / 2;
        const bool is_below = codes[low + half] < code;
        low = is_below ? low + half + 1 : low;
        n = is_below ? n - half - 1 : half;
    }
    return low < n_codes && codes[low] == code ? low : n_codes;
}

// Return the index of x among a feature's codes: n_codes if no set contains it, n_codes + 1 for NaN.
inline std::size_t find_code_index(const Forest& f, const CategoryFeature& record, double x) {
    if (x != x) return std::size_t{record.n_codes} + 1;
    return find_code(f.category_codes.data + record.first_code, record.n_codes, f.no_code_up_to, x);
}

// Fill column 0 and those of the first n_records numeric features.
template <typename Column, typename Value>
void fill_numeric_columns(const Forest& f, std::size_t n_records, const Value* values, Column* columns, std::size_t stride) {
    columns[0] = 0;
    for (std::size_t i = 0; i < n_records; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        const double value = read_value(f, values[record.feature]);
        const bool is_nan = value != value;
        const double x = is_nan ? 0.0 : value;
        const bool is_zero = x >= -kZeroBand && x <= kZeroBand;
        const std::size_t rank = rank_value(f, record, x);
        const std::uint8_t* rules = f.column_rules.data + (record.first_column - 1);
        Column* out = columns + record.first_column * stride;
        for (std::size_t c = 0; c < record.n_columns; ++c)
            out[c * stride] = read_column<Column>(rules[c], rank, is_nan, is_zero);
    }
}

// Spread the bits of a dense feature over its columns, 16 at a time: any number but 0 goes right. Writes up to 15 columns more.
// (Setting the columns of each set that contains the code cost 1.7 us of a 6.2 us row, with 2 features and 8,843 sets.)
template <typename Column>
void spread_bits(const std::uint16_t* words, std::size_t n_columns, Column* columns) {
    // No wider than the registers: the compiler splits wider vectors badly (12 us a row instead of 8).
    constexpr std::size_t kLanes = MLRF_VECTOR_BYTES / sizeof(Column) < 16 ? MLRF_VECTOR_BYTES / sizeof(Column) : 16;
    typedef Column Vector __attribute__((vector_size(kLanes * sizeof(Column)), may_alias, aligned(sizeof(Column))));
    Vector bits;
    for (std::size_t lane = 0; lane < kLanes; ++lane) bits[lane] = static_cast<Column>(1u << lane);
    for (std::size_t c = 0; c < n_columns; c += 16)
        for (std::size_t first = 0; first < 16; first += kLanes) {
            const Column part = static_cast<Column>(words[c / 16] >> first);
            const Vector word = Vector{} + part;
            *reinterpret_cast<Vector*>(columns + c + first) = reinterpret_cast<Vector>((word & bits) == bits);
        }
}

// Set the columns of one row's categories; at stride 1 there must be space for 15 more columns.
template <typename Column, typename Value>
void fill_category_columns(const Forest& f, const Value* values, Column* columns, std::size_t stride) {
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        const std::size_t index = find_code_index(f, record, read_value(f, values[record.feature]));
        Column* out = columns + record.first_column * stride;
        if (record.n_codes <= kDenseCodes) {
            const std::uint16_t* words =
                f.code_bits.data + record.first_word + index * ((record.n_columns + std::size_t{15}) / 16);
            if (stride == 1)
                spread_bits(words, record.n_columns, out);
            else
                for (std::size_t c = 0; c < record.n_columns; ++c)
                    out[c * stride] = static_cast<Column>(words[c / 16] >> (c % 16) & 1);
        } else if (index > record.n_codes) {
            const std::uint8_t* sides = f.category_defaults.data + (record.first_column - f.first_category_column);
            for (std::size_t c = 0; c < record.n_columns; ++c) out[c * stride] = sides[c];
        } else {
            for (std::size_t c = 0; c < record.n_columns; ++c) out[c * stride] = 1;
            if (index == record.n_codes) continue;
            const std::size_t code = record.first_code + index;
            for (std::size_t m = f.code_members[code]; m < f.code_members[code + 1]; ++m) columns[f.members[m] * stride] = 0;
        }
    }
}

// Fill the columns of one row, columns[c * stride], from values[feature]; at stride 1 there must be space for 15 more columns.
template <typename Column, typename Value>
void fill_columns(const Forest& f, const Value* values, Column* columns, std::size_t stride) {
    fill_numeric_columns(f, f.numeric_features.count, values, columns, stride);
    fill_category_columns(f, values, columns, stride);
}

// Fill the columns of at most kRowLanes rows, columns[c * kRowLanes + row], searching their ranks together; lanes without a row
// repeat the first.
template <typename Column, typename Value>
void fill_column_lanes(const Forest& f, const Value* values, std::size_t n_rows, Column* columns) {
    double x[kRowLanes];
    std::uint32_t ranks[kRowLanes];
    for (std::size_t row = 0; row < kRowLanes; ++row) columns[row] = 0;
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        for (std::size_t row = 0; row < kRowLanes; ++row)
            x[row] = read_value(f, values[(row < n_rows ? row : 0) * f.n_inputs + record.feature]);
        // NaN is below no threshold; its rule decides the column's value, or 0.0 is used if it has no rule.
        double ranked[kRowLanes];
        for (std::size_t row = 0; row < kRowLanes; ++row) ranked[row] = x[row] != x[row] ? 0.0 : x[row];
        rank_values_together(f, record, ranked, kRowLanes, ranks);
        const std::uint8_t* rules = f.column_rules.data + (record.first_column - 1);
        Column* out = columns + record.first_column * kRowLanes;
        for (std::size_t c = 0; c < record.n_columns; ++c)
            for (std::size_t row = 0; row < kRowLanes; ++row)
                out[c * kRowLanes + row] = read_column<Column>(rules[c], ranks[row], x[row] != x[row],
                                                               ranked[row] >= -kZeroBand && ranked[row] <= kZeroBand);
    }
    for (std::size_t row = 0; row < kRowLanes; ++row)
        fill_category_columns(f, values + (row < n_rows ? row : 0) * f.n_inputs, columns + row, kRowLanes);
}

}  // namespace mlrf::MLRF_LEVEL
