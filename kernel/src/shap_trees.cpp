#include "shap_trees.hpp"

#include <algorithm>
#include <limits>

namespace mlrf {
namespace {

// Whether all numbers of the nodes fit 16 bits.
bool fits_short(const Forest& f) {
    constexpr std::uint32_t kMost = std::numeric_limits<std::uint16_t>::max();
    // `earlier` is twice a slot, and one more.
    return !f.is_wide && std::uint64_t{f.n_outputs} * f.shap_features.count <= kMost && f.n_columns <= kMost + 1 && f.max_shap_slots <= kMost / 2;
}

}  // namespace

ShapTrees::ShapTrees(const Forest& f) : view_{} {
    view_.is_short = fits_short(f);
    if (view_.is_short)
        lay_out(f, short_upper_, short_last_);
    else
        lay_out(f, long_upper_, long_last_);
    view_.upper = view_.is_short ? static_cast<const void*>(short_upper_.data()) : long_upper_.data();
    view_.last = view_.is_short ? static_cast<const void*>(short_last_.data()) : long_last_.data();
    view_.runs = runs_.data();
    view_.earlier_shares = earlier_shares_.data();
    view_.leaves = leaves_.data();
    view_.roots = roots_.data();
    view_.chunks = chunks_.data();
    view_.n_chunks = chunks_.size();
}

template <typename Index>
void ShapTrees::lay_out(const Forest& f, std::vector<UpperNode<Index>>& upper, std::vector<LastNode<Index>>& last) {
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) add_chunk(f, f.shap_chunks[c], upper, last);
    upper.shrink_to_fit();
    last.shrink_to_fit();
    earlier_shares_.shrink_to_fit();
    leaves_.shrink_to_fit();
}

template <typename Index>
void ShapTrees::add_chunk(const Forest& f, const ShapChunk& chunk, std::vector<UpperNode<Index>>& upper, std::vector<LastNode<Index>>& last) {
    const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
    const double* leaf_values = f.shap_leaves.data + chunk.first_leaf;
    const std::uint32_t n_nodes = chunk.n_nodes;
    const auto is_last = [&](std::uint32_t i) { return nodes[i].left >= n_nodes && nodes[i].right >= n_nodes; };
    const auto is_seen = [&](std::uint32_t i) { return nodes[i].earlier != kNoEarlier; };

    // Upper nodes by level, then last nodes; of each, nodes whose features appear first before the others.
    std::vector<std::uint32_t> level(n_nodes, 0), order(n_nodes);
    for (std::uint32_t i = 0; i < n_nodes; ++i) {
        order[i] = i;
        for (const std::uint32_t child : {nodes[i].left, nodes[i].right})
            if (child < n_nodes) level[child] = level[i] + 1;
    }
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        if (is_last(a) != is_last(b)) return is_last(b);
        if (!is_last(a) && level[a] != level[b]) return level[a] < level[b];
        return is_seen(b) && !is_seen(a);
    });
    std::vector<std::uint32_t> slot_of(n_nodes, 0);
    for (std::uint32_t slot = 0; slot < n_nodes; ++slot) slot_of[order[slot]] = slot;

    LaidOutChunk made{};
    made.first_upper = upper.size();
    made.first_last = last.size();
    made.first_run = runs_.size();
    made.first_leaf = leaves_.size();
    made.first_root = roots_.size();
    made.first_earlier = earlier_shares_.size();
    made.n_quadrature = chunk.n_quadrature;
    made.n_roots = chunk.n_roots;
    for (std::uint32_t root = 0; root < chunk.n_roots; ++root) roots_.push_back(slot_of[root]);
    const auto slot_of_child = [&](std::uint32_t child) {
        if (child < n_nodes) return static_cast<Index>(slot_of[child]);
        leaves_.push_back(leaf_values[child - n_nodes]);
        return static_cast<Index>(n_nodes + (leaves_.size() - 1 - made.first_leaf));
    };
    for (std::uint32_t slot = 0; slot < n_nodes; ++slot) {
        const ShapNode& node = nodes[order[slot]];
        const bool seen = is_seen(order[slot]);
        const Index earlier = seen ? static_cast<Index>(2 * slot_of[node.earlier / 2] + node.earlier % 2) : Index{0};
        if (seen) earlier_shares_.push_back(node.earlier_share);
        const Index column = static_cast<Index>(node.column), rank = static_cast<Index>(node.rank), sum = static_cast<Index>(node.sum);
        if (is_last(order[slot])) {
            const double left = leaf_values[node.left - n_nodes], right = leaf_values[node.right - n_nodes], difference = left - right;
            last.push_back({right + node.share * difference, {(1.0 - node.share) * difference, -node.share * difference}, column, rank, sum, earlier});
            made.n_seen_last += seen;
            continue;
        }
        const Index left = slot_of_child(node.left), right = slot_of_child(node.right);
        upper.push_back({node.share, left, right, column, rank, sum, earlier});
        if (runs_.size() == made.first_run || runs_.back().seen != static_cast<std::uint32_t>(seen)) runs_.push_back({0, seen});
        runs_.back().end = slot + 1;
    }
    made.n_upper = upper.size() - made.first_upper;
    made.n_last = last.size() - made.first_last;
    made.n_runs = runs_.size() - made.first_run;
    made.n_leaves = leaves_.size() - made.first_leaf;
    chunks_.push_back(made);
    view_.most_upper = std::max(view_.most_upper, made.n_upper);
    view_.most_nodes = std::max<std::size_t>(view_.most_nodes, n_nodes);
    view_.most_slots = std::max<std::size_t>(view_.most_slots, n_nodes + made.n_leaves);
}

}  // namespace mlrf
