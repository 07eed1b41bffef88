// Checks that the values of a table's columns are allowed: one pass over the rows before any tree is evaluated.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>

namespace mlrf {

// One column: numbers from least to most; only integers if `whole` is not 0; NaN only if `may_miss` is not 0.
struct ValueRule {
    double least, most, whole, may_miss;

    bool admits(double x) const {
        if (std::isnan(x)) return may_miss != 0.0;
        return x >= least && x <= most && (whole == 0.0 || x == std::trunc(x));
    }
};

// Return the index of the first value of n rows that its column's rule does not admit; n * n_columns if all are admitted.
// The values need not be aligned.
inline std::size_t first_outside(const unsigned char* values, std::size_t n, const ValueRule* rules, std::size_t n_columns) {
    std::size_t position = 0;
    for (std::size_t row = 0; row < n; ++row)
        for (std::size_t column = 0; column < n_columns; ++column, ++position) {
            double x;
            std::memcpy(&x, values + position * sizeof x, sizeof x);
            if (!rules[column].admits(x)) return position;
        }
    return position;
}

}  // namespace mlrf
