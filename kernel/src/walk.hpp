// Scoring by walking: several independent walks in lockstep, so that their loads overlap and no branch is mispredicted.
//
// Leaves loop onto themselves, so a walk that has ended may continue; no branch depends on the data.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "sums.hpp"

namespace mlrf::MLRF_LEVEL {

template <typename Node, typename Column>
inline std::uint32_t step(const Node* nodes, std::uint32_t at, const Column* columns) {
    const Node node = nodes[at];
    return node.child + static_cast<std::uint32_t>(columns[node.column] > node.rank);
}

// Lanes of a one-row walk: 16 trees at a time measured faster than 8 (see docs/adr/0005-tree-kernel.md).
constexpr std::size_t kTreeLanes = 16;

// Find the leaf that one row reaches in each tree; writes its value to leaf_of_tree[tree].
template <typename Node, typename Column>
void walk_trees(const Forest& f, const Column* columns, double* leaf_of_tree) {
    const Node* nodes = static_cast<const Node*>(f.walk_nodes);
    std::size_t first = 0;
    for (; first + kTreeLanes <= f.n_trees; first += kTreeLanes) {
        const WalkTree* group = f.walk_trees.data + first;
        std::uint32_t at[kTreeLanes];
        for (std::size_t lane = 0; lane < kTreeLanes; ++lane) at[lane] = f.trees[group[lane].tree].root;
        for (std::uint32_t depth = group[kTreeLanes - 1].depth; depth > 0; --depth)
            for (std::size_t lane = 0; lane < kTreeLanes; ++lane) at[lane] = step(nodes, at[lane], columns);
        for (std::size_t lane = 0; lane < kTreeLanes; ++lane) {
            const std::uint32_t tree = group[lane].tree;
            leaf_of_tree[tree] = f.leaf_values[f.trees[tree].first_value + nodes[at[lane]].rank];
        }
    }
    for (; first < f.n_trees; ++first) {
        const WalkTree& walk = f.walk_trees[first];
        std::uint32_t at = f.trees[walk.tree].root;
        for (std::uint32_t depth = walk.depth; depth > 0; --depth) at = step(nodes, at, columns);
        leaf_of_tree[walk.tree] = f.leaf_values[f.trees[walk.tree].first_value + nodes[at].rank];
    }
}

// Walk n_rows rows, in groups of kRowLanes, through one tree after the other: a tree's nodes are cached for every row but the
// first, which is not so for single rows if the forest is larger than the cache. Group g has its columns at columns + g *
// n_columns * kRowLanes, interleaved by row.
template <typename Node, typename Column>
void walk_block(const Forest& f, const Column* columns, const std::uint32_t* depth_of_tree, std::size_t n_rows, double* margins) {
    const Node* nodes = static_cast<const Node*>(f.walk_nodes);
    const std::size_t n_outputs = f.n_outputs;
    for (std::size_t row = 0; row < n_rows; ++row)
        for (std::size_t k = 0; k < n_outputs; ++k) margins[row * n_outputs + k] = start_sum(f, k);
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const TreeRecord& tree = f.trees[t];
        const double* values = f.leaf_values.data + tree.first_value;
        const Column* group = columns;
        for (std::size_t first = 0; first < n_rows; first += kRowLanes, group += f.n_columns * kRowLanes) {
            std::uint32_t at[kRowLanes];
            for (std::size_t lane = 0; lane < kRowLanes; ++lane) at[lane] = tree.root;
            for (std::uint32_t depth = depth_of_tree[t]; depth > 0; --depth)
                for (std::size_t lane = 0; lane < kRowLanes; ++lane) {
                    const Node node = nodes[at[lane]];
                    at[lane] = node.child + static_cast<std::uint32_t>(group[node.column * kRowLanes + lane] > node.rank);
                }
            const std::size_t lanes = n_rows - first < kRowLanes ? n_rows - first : kRowLanes;
            double* sums = margins + first * n_outputs + tree.output;
            if (is_float32_sum(f, tree.output))
                for (std::size_t lane = 0; lane < lanes; ++lane)
                    sums[lane * n_outputs] =
                        static_cast<float>(sums[lane * n_outputs]) + static_cast<float>(values[nodes[at[lane]].rank]);
            else
                for (std::size_t lane = 0; lane < lanes; ++lane) sums[lane * n_outputs] += values[nodes[at[lane]].rank];
        }
    }
    for (std::size_t row = 0; row < n_rows; ++row)
        for (std::size_t k = 0; k < n_outputs; ++k)
            margins[row * n_outputs + k] = finish_sum(f, k, margins[row * n_outputs + k]);
}

// Add leaves to sums[output] in the order of the trees, in the precision that the file names, and finish each sum.
inline void add_leaves(const Forest& f, const double* leaf_of_tree, double* sums) {
    for (std::size_t k = 0; k < f.n_outputs; ++k) sums[k] = start_sum(f, k);
    if (f.sums_in_float32) {
        if (f.n_outputs == 1) {
            float sum = static_cast<float>(sums[0]);
            for (std::size_t t = 0; t < f.n_trees; ++t) sum += static_cast<float>(leaf_of_tree[t]);
            sums[0] = sum;
        } else {
            for (std::size_t t = 0; t < f.n_trees; ++t) {
                double& sum = sums[f.trees[t].output];
                sum = static_cast<float>(sum) + static_cast<float>(leaf_of_tree[t]);
            }
        }
    } else if (f.sum_roundings != nullptr) {
        for (std::size_t t = 0; t < f.n_trees; ++t) {
            double& sum = sums[f.trees[t].output];
            if (is_float32_sum(f, f.trees[t].output))
                sum = static_cast<float>(sum) + static_cast<float>(leaf_of_tree[t]);
            else
                sum += leaf_of_tree[t];
        }
    } else if (f.n_outputs == 1) {
        double sum = sums[0];
        for (std::size_t t = 0; t < f.n_trees; ++t) sum += leaf_of_tree[t];
        sums[0] = sum;
    } else {
        for (std::size_t t = 0; t < f.n_trees; ++t) sums[f.trees[t].output] += leaf_of_tree[t];
    }
    for (std::size_t k = 0; k < f.n_outputs; ++k) sums[k] = finish_sum(f, k, sums[k]);
}

}  // namespace mlrf::MLRF_LEVEL
