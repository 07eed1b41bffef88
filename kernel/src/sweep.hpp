// Scoring a block of rows by sweeping: every node of a tree is compared for the whole block at once, children before parents.
//
// A lane holds a row's leaf number in one or two bytes. Each node picks its right child's lanes where the row goes right, else
// its left child's; the root ends with each row's leaf. No pointer is followed and there is no branch: a tree of 63 leaves costs
// about 62 * 5 instructions for 64 rows, where walking costs about 8.5 * 7 for one. (Bit vectors over leaves, as in
// V-QuickScorer, Lucchese et al. 2016, need one 64-bit word per row instead of a byte.)
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "scratch.hpp"
#include "sums.hpp"
#include "sweep_columns.hpp"
#include "sweep_lanes.hpp"
#include "sweep_tables.hpp"

namespace mlrf::MLRF_LEVEL {

// Write the leaf numbers below the middle of the slots, once in the lifetime of a scratch.
template <typename Lane>
void prepare_slots(const Forest& f, const SweepScratch& scratch) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    Lane* middle = static_cast<Lane*>(scratch.slots) + f.max_leaves * kRows;
    for (std::size_t leaf = 0; leaf < f.max_leaves; ++leaf)
        for (std::size_t row = 0; row < kRows; ++row)
            middle[-static_cast<std::ptrdiff_t>((leaf + 1) * kRows) + static_cast<std::ptrdiff_t>(row)] =
                static_cast<Lane>(leaf);
}

// Sweep one tree; returns each row's leaf number.
template <typename Lane>
const typename Lanes<Lane>::Unsigned* sweep_tree(const TreeRecord& tree, const SweepNode* nodes, const Lane* columns,
                                                 Lane* middle) {
    typedef typename Lanes<Lane>::Vector Vector;
    constexpr std::ptrdiff_t kRows = kSweepRows<Lane>;
    constexpr std::size_t kGroups = kSweepBytes / sizeof(Vector);
    Lane* out = middle;
    const std::size_t n_nodes = tree.n_leaves - 1;
    std::size_t i = 0;
    // First come nodes over two leaves, whose numbers need not be read: the slots of a deep tree do not fit the nearest cache.
    for (; i < n_nodes && (nodes[i].left & nodes[i].right) < 0; ++i, out += kRows) {
        const SweepNode node = nodes[i];
        const Vector* column = reinterpret_cast<const Vector*>(columns + node.column * kRows);
        const Vector left = Vector{} + static_cast<Lane>(-1 - node.left);
        const Vector right = Vector{} + static_cast<Lane>(-1 - node.right);
        const Vector rank = Vector{} + static_cast<Lane>(node.rank);
        for (std::size_t g = 0; g < kGroups; ++g) reinterpret_cast<Vector*>(out)[g] = column[g] > rank ? right : left;
    }
    for (; i < n_nodes; ++i, out += kRows) {
        const SweepNode node = nodes[i];
        const Vector* column = reinterpret_cast<const Vector*>(columns + node.column * kRows);
        const Vector* left = reinterpret_cast<const Vector*>(middle + node.left * kRows);
        const Vector* right = reinterpret_cast<const Vector*>(middle + node.right * kRows);
        const Vector rank = Vector{} + static_cast<Lane>(node.rank);
        for (std::size_t g = 0; g < kGroups; ++g) reinterpret_cast<Vector*>(out)[g] = column[g] > rank ? right[g] : left[g];
    }
    return reinterpret_cast<const typename Lanes<Lane>::Unsigned*>(n_nodes == 0 ? middle - kRows : out - kRows);
}

// The same for a symmetric tree: each level's decision is the next bit of the leaf number.
template <typename Lane>
void number_leaves(const SymmetricLevel* first, const SymmetricLevel* end, const Lane* columns, typename Lanes<Lane>::Unsigned* leaves) {
    typedef typename Lanes<Lane>::Vector Vector;
    typedef typename Lanes<Lane>::UnsignedVector UnsignedVector;  // a tree may have as many leaves as a lane has numbers
    constexpr std::size_t kRows = kSweepRows<Lane>;
    constexpr std::size_t kGroups = kSweepBytes / sizeof(Vector);
    UnsignedVector leaf[kGroups] = {};
    for (const SymmetricLevel* level = first; level != end; ++level) {
        const Vector* column = reinterpret_cast<const Vector*>(columns + level->column * kRows);
        const Vector rank = Vector{} + static_cast<Lane>(level->rank);
        // A true comparison is -1.
        for (std::size_t g = 0; g < kGroups; ++g) leaf[g] = leaf[g] + leaf[g] - reinterpret_cast<UnsignedVector>(column[g] > rank);
    }
    for (std::size_t g = 0; g < kGroups; ++g) reinterpret_cast<UnsignedVector*>(leaves)[g] = leaf[g];
}

// Trees whose leaves are added in one pass over the sums, each row's in the order of the trees.
constexpr std::size_t kSummedTrees = 4;

template <typename Lane, std::size_t kTrees>
void add_trees(bool in_float32, const typename Lanes<Lane>::Unsigned (*leaves)[kSweepRows<Lane>], const double* const* values,
               double* sums) {
    if (in_float32) {
        for (std::size_t row = 0; row < kSweepRows<Lane>; ++row) {
            float sum = static_cast<float>(sums[row]);
            for (std::size_t i = 0; i < kTrees; ++i) sum += static_cast<float>(values[i][leaves[i][row]]);
            sums[row] = sum;
        }
    } else {
        for (std::size_t row = 0; row < kSweepRows<Lane>; ++row) {
            double sum = sums[row];
            for (std::size_t i = 0; i < kTrees; ++i) sum += values[i][leaves[i][row]];
            sums[row] = sum;
        }
    }
}

// Fill the columns of several blocks of rows, columns[block][n_sweep_columns][kRows]. With `tables` the rows are as given and those of
// the tables have been filled, and else the rows' tables have been looked up.
template <typename Lane, typename Value>
void fill_blocks(const Forest& f, const RankedTables* tables, const Value* values, std::size_t n_rows, const SweepScratch& scratch) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const std::size_t stride = tables != nullptr ? f.n_features : f.n_inputs;
    const std::size_t n_records = tables != nullptr ? tables->n_given : f.numeric_features.count;
    SweepScratch block = scratch;
    for (std::size_t row = 0; row < n_rows; row += kRows) {
        const std::size_t n = n_rows - row < kRows ? n_rows - row : kRows;
        fill_numeric_block<Lane>(f, n_records, values + row * stride, stride, n, static_cast<Lane*>(block.columns));
        fill_category_block<Lane>(f, values + row * stride, stride, n, block);
        block.columns = static_cast<Lane*>(block.columns) + f.n_sweep_columns * kRows;
    }
}

// Sweep up to kSummedTrees trees of one output, from `first` to `end`, and add their leaves to the sums of a block.
template <typename Lane>
void sweep_trees(const Forest& f, std::size_t first, std::size_t end, const SweepScratch& scratch, const Lane* columns, double* sums) {
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    Lane* middle = static_cast<Lane*>(scratch.slots) + f.max_leaves * kRows;
    alignas(64) Unsigned leaves[kSummedTrees][kRows];
    const double* values[kSummedTrees];
    for (std::size_t t = first; t < end; ++t) {
        const TreeRecord& tree = f.trees[t];
        const SymmetricLevel* level = scratch.symmetric.levels + scratch.symmetric.first_level[t];
        const SymmetricLevel* last = scratch.symmetric.levels + scratch.symmetric.first_level[t + 1];
        values[t - first] = f.leaf_values.data + tree.first_value;
        if (level != last) {
            number_leaves<Lane>(level, last, columns, leaves[t - first]);
            continue;
        }
        const Unsigned* leaf = sweep_tree<Lane>(tree, f.sweep_nodes.data + tree.first_sweep, columns, middle);
        for (std::size_t row = 0; row < kRows; ++row) leaves[t - first][row] = leaf[row];
    }
    const bool in_float32 = is_float32_sum(f, f.trees[first].output);
    if (end - first == kSummedTrees)
        add_trees<Lane, kSummedTrees>(in_float32, leaves, values, sums);
    else
        for (std::size_t i = 0; i < end - first; ++i) add_trees<Lane, 1>(in_float32, leaves + i, values + i, sums);
}

// Margins of n rows, margins[row * K + k], whose columns fill_blocks has filled; bit for bit the result of a walk. A tree is swept for
// all blocks before the next tree: its nodes and leaf values are then near.
template <typename Lane>
void sweep_blocks(const Forest& f, std::size_t n_rows, const SweepScratch& scratch, double* margins) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const std::size_t n_blocks = (n_rows + kRows - 1) / kRows, n_sums = f.n_outputs * kRows;
    for (std::size_t b = 0; b < n_blocks; ++b)
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            for (std::size_t row = 0; row < kRows; ++row) scratch.sums[b * n_sums + k * kRows + row] = start_sum(f, k);
    for (std::size_t t = 0; t < f.n_trees;) {
        const std::uint32_t output = f.trees[t].output;
        std::size_t end = t + 1;
        while (end < f.n_trees && end < t + kSummedTrees && f.trees[end].output == output) ++end;
        for (std::size_t b = 0; b < n_blocks; ++b)
            sweep_trees<Lane>(f, t, end, scratch, static_cast<const Lane*>(scratch.columns) + b * f.n_sweep_columns * kRows,
                              scratch.sums + b * n_sums + output * kRows);
        t = end;
    }
    for (std::size_t row = 0; row < n_rows; ++row)
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            margins[row * f.n_outputs + k] = finish_sum(f, k, scratch.sums[row / kRows * n_sums + k * kRows + row % kRows]);
}

// Margins of at most kTableBlocks blocks of rows as they are given, or with no tables of at most SweepScratch::n_blocks.
template <typename Lane, typename Value>
void score_blocks_of(const Forest& f, const RankedTables* tables, const Value* values, std::size_t n_rows, const SweepScratch& scratch,
                     double* margins) {
    if (tables != nullptr) fill_table_columns<Lane>(f, *tables, values, n_rows, scratch.keys, static_cast<Lane*>(scratch.columns));
    fill_blocks<Lane>(f, tables, values, n_rows, scratch);
    const std::size_t most_rows = scratch.n_blocks * kSweepRows<Lane>;
    SweepScratch blocks = scratch;
    for (std::size_t row = 0; row < n_rows; row += most_rows) {
        sweep_blocks<Lane>(f, n_rows - row < most_rows ? n_rows - row : most_rows, blocks, margins + row * f.n_outputs);
        blocks.columns = static_cast<Lane*>(blocks.columns) + f.n_sweep_columns * most_rows;
    }
}

}  // namespace mlrf::MLRF_LEVEL
