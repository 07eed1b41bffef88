// Columns of numbers, each in a buffer of its own, as columns of a float64 table, checked while they are written.
//
// Rows are written a tile at a time: one column after the other would touch every cache line of the table once for each column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "columns.hpp"

namespace mlrf {

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

// Write n rows of the columns into table[n][width], missing values as NaN. The columns must hold them (`holds_rows`); `rules` has
// a rule for each column of the table. Returns for each column whether its rule admits all values.
std::vector<bool> fill_typed(const std::vector<TypedColumn>& columns, const ValueRule* rules, std::size_t n, double* table,
                             std::size_t width);

}  // namespace mlrf
