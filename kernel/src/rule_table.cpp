#include "rule_table.hpp"

#include <algorithm>

namespace mlrf {
namespace {

constexpr std::size_t kFewRows = 4;  // checked in less time than a table of the rules is made

// The fastest level whose vectors are not wider than a row.
const Level& level_of(std::size_t n_columns) {
    const Level& fastest = choose_level(nullptr);
    return n_columns * sizeof(double) >= fastest.vector_bytes ? fastest : choose_level("baseline");
}

}  // namespace

RuleTable::RuleTable(const ValueRule* rules, std::size_t n_columns) : rules_(rules), level_(level_of(n_columns)), vectors_{} {
    const std::size_t lanes = level_.vector_bytes / sizeof(double);
    for (std::size_t column = 0; column < n_columns && n_columns >= lanes; column += lanes) {
        const std::size_t first = std::min(column, n_columns - lanes);
        const ValueRule* const begin = rules + first;
        const ValueRule* const end = begin + lanes;
        if (std::any_of(begin, end, [](const ValueRule& rule) { return rule.whole != 0.0; })) {
            whole_vector_.push_back(static_cast<std::uint32_t>(first_column_.size()));
            for (const ValueRule* rule = begin; rule != end; ++rule) whole_.push_back(rule->whole != 0.0 ? -1 : 0);
        }
        first_column_.push_back(static_cast<std::uint32_t>(first));
        for (const ValueRule* rule = begin; rule != end; ++rule) {
            least_.push_back(rule->least);
            most_.push_back(rule->most);
            required_.push_back(rule->may_miss == 0.0 ? -1 : 0);
        }
    }
    vectors_ = {n_columns, first_column_.size(), first_column_.data(), least_.data(), most_.data(), required_.data(),
                whole_vector_.size(), whole_vector_.data(), whole_.data()};
}

std::size_t RuleTable::first_outside(const unsigned char* values, std::size_t n) const {
    const std::size_t n_columns = vectors_.n_columns, row_bytes = n_columns * sizeof(double);
    for (std::size_t row = 0; row < n; ++row) {
        if (vectors_.n_vectors > 0) row += level_.first_uncertain_row(vectors_, values + row * row_bytes, n - row);
        if (row == n) break;
        const std::size_t column = first_outside_of_row(values + row * row_bytes, rules_, n_columns);
        if (column < n_columns) return row * n_columns + column;
    }
    return n * n_columns;
}

std::size_t first_outside(const unsigned char* values, std::size_t n, const ValueRule* rules, std::size_t n_columns) {
    if (n >= kFewRows) return RuleTable(rules, n_columns).first_outside(values, n);
    for (std::size_t row = 0; row < n; ++row) {
        const std::size_t column = first_outside_of_row(values + row * n_columns * sizeof(double), rules, n_columns);
        if (column < n_columns) return row * n_columns + column;
    }
    return n * n_columns;
}

}  // namespace mlrf
