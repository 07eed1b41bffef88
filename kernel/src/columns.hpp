// The rules of a table's columns: which values are allowed, checked before any tree is evaluated.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mlrf {

// One column: numbers from least to most; only integers if `whole` is not 0; NaN only if `may_miss` is not 0.
struct ValueRule {
    double least, most, whole, may_miss;

    bool admits(double x) const {
        if (std::isnan(x)) return may_miss != 0.0;
        return x >= least && x <= most && (whole == 0.0 || is_whole(x));
    }

    // Like a comparison with std::trunc, which without SSE4.1 is a call.
    static bool is_whole(double x) {
        constexpr double all_whole = 4503599627370496.0;  // 2 to the 52: greater numbers have no fraction
        return !(std::fabs(x) < all_whole) || static_cast<double>(static_cast<std::int64_t>(x)) == x;
    }
};

// A float64 that need not be aligned.
inline double read_number(const unsigned char* values, std::size_t index) {
    double x;
    std::memcpy(&x, values + index * sizeof x, sizeof x);
    return x;
}

// Return the index of the first value of a row that its column's rule does not admit; n_columns if all are admitted.
inline std::size_t first_outside_of_row(const unsigned char* values, const ValueRule* rules, std::size_t n_columns) {
    std::size_t column = 0;
    while (column < n_columns && rules[column].admits(read_number(values, column))) ++column;
    return column;
}

}  // namespace mlrf
