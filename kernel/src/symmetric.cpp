#include "symmetric.hpp"

namespace mlrf {
namespace {

// Append the levels of a tree from the root down; nothing if the tree is not symmetric.
void append_levels(const Forest& f, const TreeRecord& tree, std::vector<SymmetricLevel>& levels) {
    const NarrowNode* nodes = static_cast<const NarrowNode*>(f.walk_nodes);
    const auto is_leaf = [&](std::uint32_t node) { return nodes[node].child == node; };
    const int bias = f.sweep_lane_bytes == 1 ? 128 : 32768;
    const std::size_t first = levels.size();
    std::vector<std::uint32_t> level{tree.root}, below;
    while (!is_leaf(level[0])) {
        const NarrowNode& model = nodes[level[0]];
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
        levels.push_back({model.column, static_cast<std::int16_t>(int{model.rank} - bias)});
        level.swap(below);
    }
    bool is_in_order = level.size() == tree.n_leaves;
    for (std::uint32_t leaf = 0; is_in_order && leaf < level.size(); ++leaf)
        is_in_order = is_leaf(level[leaf]) && nodes[level[leaf]].rank == leaf;
    if (!is_in_order) levels.resize(first);
}

}  // namespace

SymmetricForest::SymmetricForest(const Forest& f) {
    if (f.sweep_lane_bytes == 0) return;
    first_level_.reserve(std::size_t{f.n_trees} + 1);
    holds_all_ = true;
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        first_level_.push_back(static_cast<std::uint32_t>(levels_.size()));
        append_levels(f, f.trees[t], levels_);
        if (levels_.size() == first_level_.back() && f.trees[t].n_leaves > 1) holds_all_ = false;
    }
    first_level_.push_back(static_cast<std::uint32_t>(levels_.size()));
}

}  // namespace mlrf
