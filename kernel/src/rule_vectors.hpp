// The rules of a table's columns as vectors of several columns: plain data, for files compiled for one instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlrf {

// Vectors of adjacent columns, of as many numbers as the level's vectors have; the last one may overlap the one before it.
struct RuleVectors {
    std::size_t n_columns;
    std::size_t n_vectors;
    const std::uint32_t* first_column;  // [n_vectors]
    const double* least;                // [n_vectors][lanes], as are the others
    const double* most;
    const std::int64_t* required;       // -1 in columns that must not be NaN, else 0
    std::size_t n_whole;
    const std::uint32_t* whole_vector;  // [n_whole] vectors with columns that must be whole
    const std::int64_t* whole;          // [n_whole][lanes] -1 in these columns, else 0
};

}  // namespace mlrf
