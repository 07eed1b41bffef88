// From a row's values to its columns: each numeric value ranked once among its feature's thresholds, each category set a 0 or a 1.
//
// After this no node compares doubles or searches a set: it goes right where its column is greater than its rank. Compiled once
// for each instruction set, inside that set's namespace, so nothing here may name library code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"

namespace mlrf::MLRF_LEVEL {

// Count the thresholds below x, without a branch: a mispredicted one costs more than the whole search.
inline std::size_t count_below(const double* thresholds, std::size_t n, double x) {
    if (n == 0) return 0;
    const double* low = thresholds;
    while (n > 1) {
        const std::size_t half = n / 2;
        low += half & -static_cast<std::size_t>(low[half - 1] < x);
        n -= half;
    }
    return static_cast<std::size_t>(low - thresholds) + static_cast<std::size_t>(*low < x);
}

// What a column reads where its value is missing: 0 is left of every rank, the greatest number right of every rank.
template <typename Column>
Column read_column(std::uint8_t rule, std::size_t rank, bool is_nan, bool is_zero) {
    constexpr Column kRight = static_cast<Column>(~Column{0});
    switch (rule) {
        case kNanLeft: return is_nan ? Column{0} : static_cast<Column>(rank);
        case kNanRight: return is_nan ? kRight : static_cast<Column>(rank);
        case kZeroLeft: return is_nan || is_zero ? Column{0} : static_cast<Column>(rank);
        case kZeroRight: return is_nan || is_zero ? kRight : static_cast<Column>(rank);
        default: return static_cast<Column>(rank);
    }
}

// Find the code that x truncates to among the ascending codes of a feature; returns n_codes where no set holds it.
inline std::size_t find_code(const std::int32_t* codes, std::size_t n_codes, double x) {
    if (!(x > -1.0 && x < 2147483648.0)) return n_codes;
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

// Fill the columns of one row: columns[c * stride] for each c, offset by `bias` (wrapping), from values[feature].
template <typename Column, typename Value>
void fill_columns(const Forest& f, const Value* values, Column* columns, std::size_t stride, Column bias) {
    columns[0] = bias;
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        const double value = static_cast<double>(values[record.feature]);
        const bool is_nan = value != value;
        const double x = is_nan ? 0.0 : value;
        const bool is_zero = x >= -kZeroBand && x <= kZeroBand;
        const std::size_t rank = count_below(f.thresholds.data + record.first_threshold, record.n_thresholds, x);
        const std::uint8_t* rules = f.column_rules.data + (record.first_column - 1);
        Column* out = columns + record.first_column * stride;
        for (std::size_t c = 0; c < record.n_columns; ++c)
            out[c * stride] = static_cast<Column>(read_column<Column>(rules[c], rank, is_nan, is_zero) + bias);
    }
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        const double x = static_cast<double>(values[record.feature]);
        Column* out = columns + record.first_column * stride;
        if (x != x) {
            const std::uint8_t* sides = f.category_defaults.data + (record.first_column - f.first_category_column);
            for (std::size_t c = 0; c < record.n_columns; ++c) out[c * stride] = static_cast<Column>(sides[c] + bias);
            continue;
        }
        const Column not_in_set = static_cast<Column>(1 + bias);
        for (std::size_t c = 0; c < record.n_columns; ++c) out[c * stride] = not_in_set;
        const std::size_t place = find_code(f.category_codes.data + record.first_code, record.n_codes, x);
        if (place == record.n_codes) continue;
        const std::size_t code = record.first_code + place;
        for (std::size_t m = f.code_members[code]; m < f.code_members[code + 1]; ++m) columns[f.members[m] * stride] = bias;
    }
}

}  // namespace mlrf::MLRF_LEVEL
