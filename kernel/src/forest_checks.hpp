// Checks of a forest file, section by section, and what they share. Each throws ForestFileError; those that return have seen every index.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "forest.hpp"

namespace mlrf {

[[noreturn]] inline void refuse(const std::string& reason) {
    throw ForestFileError("the forest file is not sound: " + reason + "; build the bundle again");
}

inline void require(bool holds, const char* reason) {
    if (!holds) refuse(reason);
}

// True when [first, first + count) lies within [0, size): no sum here can overflow.
inline bool is_within(std::uint64_t first, std::uint64_t count, std::uint64_t size) { return first <= size && count <= size - first; }

inline void require_finite(const Table<double>& numbers, const char* reason) {
    for (std::size_t i = 0; i < numbers.count; ++i) require(std::isfinite(numbers[i]), reason);
}

// Features, thresholds and category sets, against the columns that nodes test (forest_columns.cpp).
void check_numeric_features(Forest& f);
void check_category_features(const Forest& f);

// Trees, their leaf values and sweep nodes; sets max_leaves. Then their walk nodes, and the order of the walk (forest_trees.cpp).
void check_trees(Forest& f);
void check_walk(const Forest& f);

// What explanations read; sets the sizes of the largest chunk (forest_shap.cpp).
void check_shap(Forest& f);

// Look-up tables of computed columns, and the features that share a computed column's contribution (forest_tables.cpp).
void check_hashed_features(const Forest& f);
void check_tables(const Forest& f);
void check_feature_groups(const Forest& f);

// Leaves that are linear functions, if there are any (linear_leaves.cpp).
void check_linear_leaves(const Forest& f);

}  // namespace mlrf
