#include "shap_trees.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace mlrf {
namespace {

// Chunks of the file are laid out as one up to this many slots: the longer the runs of nodes of one kind, the fewer branches are
// mispredicted at their ends; the more slots, the fewer stay in the caches.
constexpr std::size_t kChunkSlots = 2048;

// Whether all numbers of the nodes fit 16 bits.
bool fits_short(const Forest& f) {
    constexpr std::uint32_t kMost = std::numeric_limits<std::uint16_t>::max();
    // `earlier` is twice a slot, and one more.
    return !f.is_wide && std::uint64_t{f.n_outputs} * f.shap_features.count <= kMost && f.n_columns <= kMost + 1 &&
           std::max<std::size_t>(f.max_shap_slots, kChunkSlots) <= kMost / 2;
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
    std::vector<ShapChunk> together;
    std::size_t n_slots = 0;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        const std::size_t more = std::size_t{chunk.n_nodes} + chunk.n_leaves;
        if (!together.empty() && (together.back().n_quadrature != chunk.n_quadrature || n_slots + more > kChunkSlots)) {
            add_chunk(f, together, upper, last);
            together.clear();
            n_slots = 0;
        }
        together.push_back(chunk);
        n_slots += more;
    }
    if (!together.empty()) add_chunk(f, together, upper, last);
    upper.shrink_to_fit();
    last.shrink_to_fit();
    earlier_shares_.shrink_to_fit();
    leaves_.shrink_to_fit();
}

template <typename Index>
void ShapTrees::add_chunk(const Forest& f, const std::vector<ShapChunk>& chunks, std::vector<UpperNode<Index>>& upper,
                          std::vector<LastNode<Index>>& last) {
    std::uint32_t n_nodes = 0;
    for (const ShapChunk& chunk : chunks) n_nodes += chunk.n_nodes;
    std::vector<ShapNode> nodes;
    std::vector<double> leaf_values;
    std::vector<std::uint32_t> roots;
    for (const ShapChunk& chunk : chunks) {
        const std::uint32_t first = static_cast<std::uint32_t>(nodes.size()), first_leaf = static_cast<std::uint32_t>(leaf_values.size());
        const auto moved = [&](std::uint32_t child) {
            return child < chunk.n_nodes ? first + child : n_nodes + first_leaf + (child - chunk.n_nodes);
        };
        for (std::uint32_t root = 0; root < chunk.n_roots; ++root) roots.push_back(first + root);
        for (std::uint32_t i = 0; i < chunk.n_nodes; ++i) {
            ShapNode node = f.shap_nodes[chunk.first_node + i];
            node.left = moved(node.left);
            node.right = moved(node.right);
            if (node.earlier != kNoEarlier) node.earlier += 2 * first;
            nodes.push_back(node);
        }
        for (std::uint32_t leaf = 0; leaf < chunk.n_leaves; ++leaf) leaf_values.push_back(f.shap_leaves[chunk.first_leaf + leaf]);
    }
    const auto is_last = [&](std::uint32_t i) { return nodes[i].left >= n_nodes && nodes[i].right >= n_nodes; };
    const auto is_seen = [&](std::uint32_t i) { return nodes[i].earlier != kNoEarlier; };
    const auto kind_of = [&](std::uint32_t i) {
        if (is_seen(i)) return UpperKind::kSeen;
        return nodes[i].left >= n_nodes || nodes[i].right >= n_nodes ? UpperKind::kFirstWithLeaf : UpperKind::kFirst;
    };

    std::vector<std::uint32_t> level(n_nodes, 0);
    for (std::uint32_t i = 0; i < n_nodes; ++i)
        for (const std::uint32_t child : {nodes[i].left, nodes[i].right})
            if (child < n_nodes) level[child] = level[i] + 1;
    const std::uint32_t n_levels = n_nodes == 0 ? 0 : *std::max_element(level.begin(), level.end()) + 1;
    // Upper nodes by level and kind, then last nodes, those whose features appear first before the others; equal ones keep their
    // order. The groups are counted: a comparison sort took a third of the time of the layout, which a start waits for.
    std::vector<std::uint32_t> group(n_nodes), next(std::size_t{n_levels} * kUpperKinds + 3, 0), order(n_nodes);
    for (std::uint32_t i = 0; i < n_nodes; ++i) {
        group[i] = is_last(i) ? n_levels * kUpperKinds + is_seen(i) : level[i] * kUpperKinds + static_cast<std::uint32_t>(kind_of(i));
        ++next[group[i] + 1];
    }
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (std::uint32_t i = 0; i < n_nodes; ++i) order[next[group[i]]++] = i;
    std::vector<std::uint32_t> slot_of(n_nodes, 0);
    for (std::uint32_t slot = 0; slot < n_nodes; ++slot) slot_of[order[slot]] = slot;

    LaidOutChunk made{};
    made.first_upper = upper.size();
    made.first_last = last.size();
    made.first_run = runs_.size();
    made.first_leaf = leaves_.size();
    made.first_root = roots_.size();
    made.first_earlier = earlier_shares_.size();
    made.n_quadrature = chunks.front().n_quadrature;
    made.n_roots = roots.size();
    for (const std::uint32_t root : roots) roots_.push_back(slot_of[root]);
    std::vector<double> leaves_with_slot;
    std::size_t n_seen_upper = 0;
    const auto slot_of_child = [&](std::uint32_t child) {
        if (child < n_nodes) return static_cast<Index>(slot_of[child]);
        leaves_with_slot.push_back(leaf_values[child - n_nodes]);
        return static_cast<Index>(n_nodes + (leaves_with_slot.size() - 1));
    };
    // The way at an earlier split that the path takes: the left one of a mirrored node, whose right child is a leaf.
    const auto way_above = [&](std::uint32_t earlier) {
        const std::uint32_t above = earlier / 2;
        const bool is_with_leaf = !is_last(above) && kind_of(above) == UpperKind::kFirstWithLeaf;
        return static_cast<Index>(2 * slot_of[above] + (is_with_leaf ? 0 : earlier % 2));
    };
    for (std::uint32_t slot = 0; slot < n_nodes; ++slot) {
        const ShapNode& node = nodes[order[slot]];
        const bool seen = is_seen(order[slot]);
        const Index earlier = seen ? way_above(node.earlier) : Index{0};
        if (seen) earlier_shares_.push_back(node.earlier_share);
        const Index column = static_cast<Index>(node.column), rank = static_cast<Index>(node.rank), sum = static_cast<Index>(node.sum);
        if (is_last(order[slot])) {
            const double left = leaf_values[node.left - n_nodes], right = leaf_values[node.right - n_nodes], difference = left - right;
            last.push_back({right + node.share * difference, {(1.0 - node.share) * difference, -node.share * difference}, column, rank, sum, earlier});
            made.n_seen_last += seen;
            continue;
        }
        const UpperKind kind = kind_of(order[slot]);
        if (kind == UpperKind::kFirstWithLeaf) {
            const bool is_mirrored = node.left >= n_nodes;
            leaves_.push_back(leaf_values[(is_mirrored ? node.left : node.right) - n_nodes]);
            const Index child = static_cast<Index>(slot_of[is_mirrored ? node.right : node.left]);
            upper.push_back({is_mirrored ? 1.0 - node.share : node.share, child, static_cast<Index>(is_mirrored), column, rank, sum, earlier});
        } else {
            const Index left = slot_of_child(node.left), right = slot_of_child(node.right);
            upper.push_back({node.share, left, right, column, rank, sum, earlier});
            n_seen_upper += seen;
        }
        if (runs_.size() == made.first_run || runs_.back().kind != kind) runs_.push_back({0, kind});
        runs_.back().end = slot + 1;
    }
    made.n_leaf_neighbours = leaves_.size() - made.first_leaf;
    made.n_leaves = leaves_with_slot.size();
    leaves_.insert(leaves_.end(), leaves_with_slot.begin(), leaves_with_slot.end());
    made.n_upper = upper.size() - made.first_upper;
    made.n_last = last.size() - made.first_last;
    made.n_seen = earlier_shares_.size() - made.first_earlier;
    made.n_runs = runs_.size() - made.first_run;
    chunks_.push_back(made);
    view_.most_seen = std::max(view_.most_seen, made.n_seen);
    view_.most_seen_upper = std::max(view_.most_seen_upper, n_seen_upper);
    view_.most_nodes = std::max<std::size_t>(view_.most_nodes, n_nodes);
    view_.most_slots = std::max<std::size_t>(view_.most_slots, n_nodes + made.n_leaves);
}

}  // namespace mlrf
