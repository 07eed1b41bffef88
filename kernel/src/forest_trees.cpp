// Checks of the trees that score: leaf values, sweep nodes, walk nodes and the order of the walk.
#include <algorithm>
#include <vector>

#include "forest_checks.hpp"

namespace mlrf {
namespace {

// Returns the depth of each tree. Children stand after their parents, so one forward pass ends and sees every depth.
template <typename Node>
std::vector<std::uint32_t> check_walk_nodes(const Forest& f) {
    std::vector<std::uint32_t> depths(f.n_trees, 0);
    std::vector<std::uint32_t> node_depths;
    const Node* nodes = static_cast<const Node*>(f.walk_nodes);
    std::uint64_t next_root = 0;
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const TreeRecord& tree = f.trees[t];
        require(tree.root == next_root, "trees are out of order");
        const std::uint64_t size = 2 * std::uint64_t{tree.n_leaves} - 1;
        require(is_within(tree.root, size, f.n_walk_nodes), "a tree ends early");
        const std::uint64_t end = tree.root + size;
        std::uint64_t seen_leaves = 0;
        node_depths.assign(size, 0);
        for (std::uint64_t n = tree.root; n < end; ++n) {
            const Node& node = nodes[n];
            require(node.column < f.n_columns, "a node tests no column");
            if (node.child == n) {
                require(node.column == 0, "a leaf tests a column");
                require(node.rank < tree.n_leaves, "a leaf has no value");
                ++seen_leaves;
                depths[t] = std::max(depths[t], node_depths[n - tree.root]);
            } else {
                require(node.child > n && std::uint64_t{node.child} + 1 < end, "a child stands outside its tree");
                for (const std::uint64_t child : {std::uint64_t{node.child}, std::uint64_t{node.child} + 1})
                    node_depths[child - tree.root] = std::max(node_depths[child - tree.root], node_depths[n - tree.root] + 1);
            }
        }
        require(seen_leaves == tree.n_leaves, "a tree has another number of leaves");
        next_root = end;
    }
    require(next_root == f.n_walk_nodes, "a node has no tree");
    return depths;
}

void check_walk_order(const Forest& f, const std::vector<std::uint32_t>& depths) {
    std::vector<bool> seen(f.n_trees, false);
    std::uint32_t last_depth = 0;
    for (std::size_t i = 0; i < f.walk_trees.count; ++i) {
        const WalkTree& tree = f.walk_trees[i];
        require(tree.tree < f.n_trees && !seen[tree.tree], "the order of the walk does not name every tree");
        require(tree.depth >= last_depth && tree.depth == depths[tree.tree], "the depths of the trees are out of order");
        seen[tree.tree] = true;
        last_depth = tree.depth;
    }
}

}  // namespace

void check_trees(Forest& f) {
    std::uint64_t next_value = 0;
    std::uint64_t next_sweep = 0;
    f.max_leaves = 1;
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const TreeRecord& tree = f.trees[t];
        require(tree.output < f.n_outputs, "a tree has no output");
        require(tree.n_leaves >= 1, "a tree has no leaf");
        require(tree.first_value == next_value, "leaf values are out of order");
        require(is_within(tree.first_value, tree.n_leaves, f.leaf_values.count), "leaf values end early");
        next_value += tree.n_leaves;
        if (tree.n_leaves > f.max_leaves) f.max_leaves = tree.n_leaves;
        if (f.sweep_lane_bytes == 0) continue;
        require(tree.first_sweep == next_sweep, "sweep nodes are out of order");
        require(is_within(tree.first_sweep, tree.n_leaves - 1, f.sweep_nodes.count), "sweep nodes end early");
        next_sweep += tree.n_leaves - 1;
        for (std::uint32_t i = 0; i + 1 < tree.n_leaves; ++i) {
            const SweepNode& node = f.sweep_nodes[tree.first_sweep + i];
            require(node.column < f.n_sweep_columns, "a sweep node tests no column");
            for (const std::int32_t side : {std::int32_t{node.left}, std::int32_t{node.right}})
                require(side < static_cast<std::int32_t>(i) && -1 - side < static_cast<std::int32_t>(tree.n_leaves),
                        "a sweep node has no child");
        }
    }
    require(next_value == f.leaf_values.count, "a leaf value has no tree");
    require(next_sweep == f.sweep_nodes.count, "a sweep node has no tree");
    require(f.sweep_lane_bytes == 0 || !f.is_wide, "a wide forest cannot be swept");
    require(f.sweep_lane_bytes != 1 || f.max_leaves <= 256, "a tree has too many leaves for sweep lanes of 8 bits");
    require(f.sweep_lane_bytes != 2 || f.max_leaves <= 32768, "a tree has too many leaves for sweep lanes of 16 bits");
    require_finite(f.leaf_values, "a leaf value is not finite");
}

void check_walk(const Forest& f) {
    check_walk_order(f, f.is_wide ? check_walk_nodes<WideNode>(f) : check_walk_nodes<NarrowNode>(f));
}

}  // namespace mlrf
