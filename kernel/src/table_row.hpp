// Scores rows alone of a forest with look-up tables and symmetric trees: the columns of a sweep for one row, without a block.
//
// What a row's tables compute is ranked when the forest is opened (ranked_tables.hpp), and a symmetric tree's leaf takes one comparison a
// level: nodes, of which a walk reads one a level from a table of all nodes, are not read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "key_terms.hpp"
#include "ranks.hpp"
#include "scratch.hpp"
#include "sweep_lanes.hpp"
#include "sweep_tables.hpp"
#include "walk.hpp"

namespace mlrf::MLRF_LEVEL {

// Fill the columns of the values that are given, as lanes of two bytes. Other columns are left unspecified.
template <typename Lane, typename Value>
void fill_given_columns(const Forest& f, std::size_t n_given, const Value* values, const TableRowScratch& scratch) {
    constexpr std::uint16_t kMost = static_cast<typename Lanes<Lane>::Unsigned>(-1);
    fill_numeric_columns(f, n_given, values, scratch.given, 1);
    fill_category_columns(f, values, scratch.given, 1);
    for (std::size_t c = 0; c < f.n_columns; ++c) {
        const std::uint16_t rank = scratch.given[c] < kMost ? scratch.given[c] : kMost;
        scratch.columns[c] = static_cast<std::int16_t>(static_cast<std::uint16_t>(rank + static_cast<std::uint16_t>(kBias<Lane>)));
    }
}

template <typename Lane>
void read_row_cells(const RankedTables& tables, const std::uint32_t* terms, std::int16_t* columns) {
    const DirectPart* part = tables.parts;
    const std::uint32_t* column = tables.direct_columns;
    for (std::size_t t = 0; t < tables.n_direct; ++t) {
        const DirectTable& table = tables.direct[t];
        std::size_t at = table.first_lane;
        for (const DirectPart* const end = part + table.n_parts; part != end; ++part) at += terms[part->term] * part->stride;
        const Lane* cell = static_cast<const Lane*>(tables.cells) + at;
        for (std::size_t c = 0; c < table.n_columns; ++c) columns[*column++] = cell[c];
    }
}

template <typename Lane, typename Value>
void fill_row_of_tables(const Forest& f, const RankedTables& tables, const Value* values, const TableRowScratch& scratch) {
    fill_given_columns<Lane>(f, tables.n_given, values, scratch);
    hash_categories<1>(f, values, 1, scratch.keys);
    test_conditions<1>(f, tables, values, 1, scratch.keys);
    const bool is_listed = scratch.keys.is_unlisted[0] == 0;
    if (is_listed) {
        for (std::size_t h = 0; h < f.hashed_features.count; ++h) scratch.terms[h] = scratch.keys.codes[h];
        std::uint32_t* flags = scratch.terms + f.hashed_features.count;
        for (std::size_t i = 0; i < tables.n_conditions; ++i) flags[i] = scratch.keys.flags[i] != 0;
        read_row_cells<Lane>(tables, scratch.terms, scratch.columns);
    }
    search_row<1, Lane>(f, tables, 0, is_listed ? tables.n_without_cells : tables.n_searched, scratch.keys,
                        [&](std::size_t column, Lane lane) { scratch.columns[column] = lane; });
}

// The leaf value that a row reaches in each tree; all trees are symmetric, of levels[first_level[t]] to those of the next tree.
template <typename Level, typename Column>
void find_symmetric_leaves(const Forest& f, const std::uint32_t* first_level, const Level* levels, const Column* columns,
                           double* leaf_of_tree) {
    // The values of a group of trees are asked for before the first is read: each may be far away.
    constexpr std::size_t kGroup = 64;
    const double* values[kGroup];
    const Level* level = levels;
    for (std::size_t first = 0; first < f.n_trees; first += kGroup) {
        const std::size_t n = f.n_trees - first < kGroup ? f.n_trees - first : kGroup;
        for (std::size_t i = 0; i < n; ++i) {
            std::size_t leaf = 0;
            for (const Level* const end = levels + first_level[first + i + 1]; level != end; ++level)
                leaf = leaf + leaf + static_cast<std::size_t>(columns[level->column] > level->rank);
            values[i] = f.leaf_values.data + f.trees[first + i].first_value + leaf;
            __builtin_prefetch(values[i]);
        }
        for (std::size_t i = 0; i < n; ++i) leaf_of_tree[first + i] = *values[i];
    }
}

template <typename Lane, typename Value>
void score_rows_of_tables(const Forest& f, const RankedTables& tables, const SymmetricTrees& symmetric, const Value* values,
                          std::size_t n_rows, const TableRowScratch& scratch, double* margins) {
    for (std::size_t row = 0; row < n_rows; ++row) {
        fill_row_of_tables<Lane>(f, tables, values + row * f.n_features, scratch);
        find_symmetric_leaves(f, symmetric.first_level, symmetric.levels, scratch.columns, scratch.leaf_of_tree);
        add_leaves(f, scratch.leaf_of_tree, margins + row * f.n_outputs);
    }
}

}  // namespace mlrf::MLRF_LEVEL
