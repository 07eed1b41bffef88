// Checks the values of rows against the rules of their columns, a vector of columns at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rule_vectors.hpp"

namespace mlrf::MLRF_LEVEL {

typedef double RuleNumbers __attribute__((vector_size(MLRF_VECTOR_BYTES), aligned(1), may_alias));
typedef long long RuleMask __attribute__((vector_size(MLRF_VECTOR_BYTES), aligned(1), may_alias));

// Return the first of n rows that is not certainly admitted; n if all are. The values need not be aligned.
static std::size_t first_uncertain_row(const RuleVectors& rules, const unsigned char* values, std::size_t n_rows) {
    constexpr std::size_t kLanes = MLRF_VECTOR_BYTES / sizeof(double);
    // Adding this rounds to a whole number; wrong for some above 2 to the 51, which are then checked one by one.
    constexpr double kRounder = 6755399441055744.0;
    for (std::size_t row = 0; row < n_rows; ++row, values += rules.n_columns * sizeof(double)) {
        RuleMask outside{};
        for (std::size_t v = 0; v < rules.n_vectors; ++v) {
            const RuleNumbers x = *reinterpret_cast<const RuleNumbers*>(values + rules.first_column[v] * sizeof(double));
            const RuleNumbers least = *reinterpret_cast<const RuleNumbers*>(rules.least + v * kLanes);
            const RuleNumbers most = *reinterpret_cast<const RuleNumbers*>(rules.most + v * kLanes);
            const RuleMask required = *reinterpret_cast<const RuleMask*>(rules.required + v * kLanes);
            outside |= (x < least) | (x > most) | ((x != x) & required);
        }
        for (std::size_t w = 0; w < rules.n_whole; ++w) {
            const std::size_t column = rules.first_column[rules.whole_vector[w]];
            const RuleNumbers x = *reinterpret_cast<const RuleNumbers*>(values + column * sizeof(double));
            outside |= ((x + kRounder) - kRounder != x) & (x == x) & *reinterpret_cast<const RuleMask*>(rules.whole + w * kLanes);
        }
        long long any = 0;
        for (std::size_t lane = 0; lane < kLanes; ++lane) any |= outside[lane];
        if (any != 0) return row;
    }
    return n_rows;
}

}  // namespace mlrf::MLRF_LEVEL
