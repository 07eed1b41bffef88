// The rules of a table's columns, in the form that checks many rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "columns.hpp"
#include "level.hpp"

namespace mlrf {

class RuleTable {
public:
    RuleTable(const ValueRule* rules, std::size_t n_columns);
    RuleTable(const RuleTable&) = delete;
    RuleTable& operator=(const RuleTable&) = delete;

    // Return the index of the first value of n rows that is not admitted; n * n_columns if all are. They need not be aligned.
    std::size_t first_outside(const unsigned char* values, std::size_t n) const;

private:
    const ValueRule* rules_;
    const Level& level_;
    std::vector<std::uint32_t> first_column_, whole_vector_;
    std::vector<double> least_, most_;
    std::vector<std::int64_t> required_, whole_;
    RuleVectors vectors_;
};

// Return the index of the first value of n rows that its column's rule does not admit; n * n_columns if all are admitted.
// The values need not be aligned.
std::size_t first_outside(const unsigned char* values, std::size_t n, const ValueRule* rules, std::size_t n_columns);

}  // namespace mlrf
