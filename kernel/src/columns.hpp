// Checks that the values of a table's columns are allowed: one pass over the rows before any tree is evaluated.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

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

// The rules of a table's columns, in the form that checks many values at once.
class RuleTable {
public:
    RuleTable(const ValueRule* rules, std::size_t n_columns) : rules_(rules), n_columns_(n_columns), bounds_(n_columns / 2) {
        for (std::size_t column = 0; column < n_columns; ++column) {
            const ValueRule& rule = rules[column];
            if (column / 2 < bounds_.size()) {
                Bounds& bounds = bounds_[column / 2];
                bounds.least[column % 2] = rule.least;
                bounds.most[column % 2] = rule.most;
                bounds.required[column % 2] = rule.may_miss == 0.0 ? -1 : 0;
                if (rule.whole == 0.0) continue;
                if (whole_.empty() || whole_.back().pair != column / 2) whole_.push_back(Whole{Mask{}, column / 2});
                whole_.back().columns[column % 2] = -1;
            }
        }
    }

    // Return the index of the first value of n rows that is not admitted; n * n_columns if all are. They need not be aligned.
    std::size_t first_outside(const unsigned char* values, std::size_t n) const {
        for (std::size_t row = 0; row < n; ++row, values += n_columns_ * sizeof(double)) {
            if (is_admitted(values)) continue;
            const std::size_t column = first_outside_of_row(values, rules_, n_columns_);
            if (column < n_columns_) return row * n_columns_ + column;
        }
        return n * n_columns_;
    }

private:
    using Pair = double __attribute__((vector_size(16)));
    using Mask = long long __attribute__((vector_size(16)));

    struct Bounds {
        Pair least, most;
        Mask required;
    };

    struct Whole {
        Mask columns;
        std::size_t pair;
    };

    static Pair read_pair(const unsigned char* values, std::size_t pair) {
        Pair x;
        std::memcpy(&x, values + pair * sizeof x, sizeof x);
        return x;
    }

    // Whether all values of a row are certainly admitted.
    bool is_admitted(const unsigned char* values) const {
        Mask outside{};
        for (std::size_t pair = 0; pair < bounds_.size(); ++pair) {
            const Bounds& bounds = bounds_[pair];
            const Pair x = read_pair(values, pair);
            outside |= (x < bounds.least) | (x > bounds.most) | ((x != x) & bounds.required);
        }
        for (const Whole& whole : whole_) {
            // Adding this rounds to a whole number; wrong for some above 2 to the 51, which are then checked one by one.
            constexpr double rounder = 6755399441055744.0;
            const Pair x = read_pair(values, whole.pair);
            outside |= ((x + rounder) - rounder != x) & (x == x) & whole.columns;
        }
        if ((outside[0] | outside[1]) != 0) return false;
        return n_columns_ % 2 == 0 || rules_[n_columns_ - 1].admits(read_number(values, n_columns_ - 1));
    }

    const ValueRule* rules_;
    std::size_t n_columns_;
    std::vector<Bounds> bounds_;  // of pairs of columns
    std::vector<Whole> whole_;
};

// Return the index of the first value of n rows that its column's rule does not admit; n * n_columns if all are admitted.
// The values need not be aligned.
inline std::size_t first_outside(const unsigned char* values, std::size_t n, const ValueRule* rules, std::size_t n_columns) {
    constexpr std::size_t few_rows = 4;  // less time than to make a table of the rules
    if (n >= few_rows) return RuleTable(rules, n_columns).first_outside(values, n);
    for (std::size_t row = 0; row < n; ++row) {
        const std::size_t column = first_outside_of_row(values + row * n_columns * sizeof(double), rules, n_columns);
        if (column < n_columns) return row * n_columns + column;
    }
    return n * n_columns;
}

}  // namespace mlrf
