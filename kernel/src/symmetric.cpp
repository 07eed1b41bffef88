#include "symmetric.hpp"

namespace mlrf {
namespace {

// How many ranks a node of each column may test: those of its feature's thresholds, or one for a category.
std::vector<std::uint32_t> ranks_of_columns(const Forest& f) {
    std::vector<std::uint32_t> ranks(f.n_columns, 1);
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        for (std::uint32_t c = 0; c < record.n_columns; ++c) ranks[record.first_column + c] = record.n_thresholds;
    }
    return ranks;
}

// Append the levels of a tree from the root down; nothing if the tree is not symmetric.
void append_levels(const Forest& f, const TreeRecord& tree, const std::vector<std::uint32_t>& ranks,
                   std::vector<SymmetricRowLevel>& levels) {
    const NarrowNode* nodes = static_cast<const NarrowNode*>(f.walk_nodes);
    const auto is_leaf = [&](std::uint32_t node) { return nodes[node].child == node; };
    const std::size_t first = levels.size();
    std::vector<std::uint32_t> level{tree.root}, below;
    while (!is_leaf(level[0])) {
        const NarrowNode& model = nodes[level[0]];
        // A damaged file may name a rank that no lane column has.
        if (model.rank >= ranks[model.column]) {
            levels.resize(first);
            return;
        }
        below.clear();
        for (const std::uint32_t n : level) {
            // A damaged file may let nodes share children: no level has more nodes than the tree has leaves.
            const bool is_alike = !is_leaf(n) && nodes[n].column == model.column && nodes[n].rank == model.rank;
            if (!is_alike || below.size() >= tree.n_leaves) {
                levels.resize(first);
                return;
            }
            below.push_back(nodes[n].child);
            below.push_back(nodes[n].child + 1);
        }
        levels.push_back({model.column, model.rank});
        level.swap(below);
    }
    bool is_in_order = level.size() == tree.n_leaves;
    for (std::uint32_t leaf = 0; is_in_order && leaf < level.size(); ++leaf)
        is_in_order = is_leaf(level[leaf]) && nodes[level[leaf]].rank == leaf;
    if (!is_in_order) levels.resize(first);
}

// Where the further columns of each numeric column begin in lanes of one byte (SweepNode).
std::vector<std::uint32_t> first_further_columns(const Forest& f) {
    std::vector<std::uint32_t> first(f.n_columns, 0);
    std::uint32_t next = f.n_columns;
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        for (std::uint32_t c = 0; c < record.n_columns; ++c) {
            first[record.first_column + c] = next;
            next += byte_columns(record.n_thresholds) - 1;
        }
    }
    return first;
}

// The levels as sweep nodes test them.
std::vector<SymmetricLevel> sweep_levels(const Forest& f, const std::vector<SymmetricRowLevel>& row_levels) {
    std::vector<SymmetricLevel> levels;
    levels.reserve(row_levels.size());
    const std::vector<std::uint32_t> first_further = first_further_columns(f);
    for (const SymmetricRowLevel& level : row_levels) {
        const std::uint32_t part = f.sweep_lane_bytes == 1 ? level.rank / kByteRanks : 0;
        const int rank = f.sweep_lane_bytes == 1 ? level.rank % static_cast<int>(kByteRanks) - 128 : level.rank - 32768;
        const std::uint32_t column = part == 0 ? level.column : first_further[level.column] + part - 1;
        levels.push_back({static_cast<std::uint16_t>(column), static_cast<std::int16_t>(rank)});
    }
    return levels;
}

}  // namespace

SymmetricForest::SymmetricForest(const Forest& f) {
    if (f.sweep_lane_bytes == 0) return;
    first_level_.reserve(std::size_t{f.n_trees} + 1);
    holds_all_ = true;
    const std::vector<std::uint32_t> ranks = ranks_of_columns(f);
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        first_level_.push_back(static_cast<std::uint32_t>(row_levels_.size()));
        append_levels(f, f.trees[t], ranks, row_levels_);
        if (row_levels_.size() == first_level_.back() && f.trees[t].n_leaves > 1) holds_all_ = false;
    }
    first_level_.push_back(static_cast<std::uint32_t>(row_levels_.size()));
    levels_ = sweep_levels(f, row_levels_);
}

}  // namespace mlrf
