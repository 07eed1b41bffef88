// Columns of numbers, each in a buffer of its own, as columns of a float64 table, checked while they are written.
//
// Rows are written a tile at a time: one column after the other would touch every cache line of the table once for each column.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "columns.hpp"
#include "record_columns.hpp"

namespace mlrf {

constexpr std::size_t kTileRows = 64;

// A column of numbers of a type that `fill_column` reads, except bits; `validity` has a bit for each value, or is null.
struct TypedColumn {
    std::uint32_t code;
    std::size_t target;
    const unsigned char* data;
    std::size_t size_bytes;
    const unsigned char* validity;
    std::size_t validity_bytes;
    std::size_t offset;
};

// The size of a number of a type of `struct`; 0 for a type that is not read.
inline std::size_t number_bytes(std::uint32_t code) {
    switch (code) {
        case 'b': case 'B': return 1;
        case 'h': case 'H': return 2;
        case 'f': case 'i': case 'I': return 4;
        case 'd': case 'q': case 'Q': return 8;
        default: return 0;
    }
}

// Whether a column has n values from its offset on, and a table of so many columns has its target.
inline bool holds_rows(const TypedColumn& column, std::size_t n, std::size_t width) {
    const std::size_t value_bytes = number_bytes(column.code);
    if (value_bytes == 0 || column.target >= width || column.offset > std::numeric_limits<std::size_t>::max() / 16 - n) return false;
    const std::size_t end = column.offset + n;
    return column.size_bytes / value_bytes >= end && (column.validity == nullptr || column.validity_bytes >= (end + 7) / 8);
}

// Whether a rule admits all of n values that are `stride` apart.
inline bool admits_all(const ValueRule& rule, const double* values, std::size_t n, std::size_t stride) {
    constexpr double all_whole = 4503599627370496.0;  // 2 to the 52: greater numbers have no fraction
    const bool may_miss = rule.may_miss != 0.0;
    bool fits = true;
    for (std::size_t row = 0; row < n; ++row) {
        const double x = values[row * stride];
        fits &= ((x >= rule.least) & (x <= rule.most)) | ((x != x) & may_miss);
    }
    if (!fits || rule.whole == 0.0) return fits;
    for (std::size_t row = 0; row < n; ++row) {
        const double x = values[row * stride];
        const double near = std::fabs(x) < all_whole ? x : 0.0;
        fits &= static_cast<double>(static_cast<std::int64_t>(near)) == near;
    }
    return fits;
}

// Write n rows of the columns into table[n][width], missing values as NaN. The columns must hold them (`holds_rows`); `rules` has
// a rule for each column of the table. Returns for each column whether its rule admits all values.
inline std::vector<bool> fill_typed(const std::vector<TypedColumn>& columns, const ValueRule* rules, std::size_t n, double* table,
                                    std::size_t width) {
    std::vector<bool> admitted(columns.size(), true);
    for (std::size_t first = 0; first < n; first += kTileRows) {
        const std::size_t count = std::min(kTileRows, n - first);
        for (std::size_t c = 0; c < columns.size(); ++c) {
            const TypedColumn& column = columns[c];
            const std::size_t value_bytes = number_bytes(column.code), begin = column.offset + first;
            double* out = table + first * width + column.target;
            fill_column(column.code, column.data + begin * value_bytes, count * value_bytes, count, out, width);
            if (column.validity != nullptr)
                for (std::size_t row = 0; row < count; ++row) {
                    const std::size_t bit = begin + row;
                    if (!(column.validity[bit / 8] >> (bit % 8) & 1)) out[row * width] = std::numeric_limits<double>::quiet_NaN();
                }
            if (admitted[c] && !admits_all(rules[column.target], out, count, width)) admitted[c] = false;
        }
    }
    return admitted;
}

}  // namespace mlrf
