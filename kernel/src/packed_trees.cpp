#include "packed_trees.hpp"

#include <algorithm>
#include <limits>

namespace mlrf {
namespace {

// Memory that the masks of one category feature may take.
constexpr std::size_t kMaskBytes = std::size_t{1} << 20;

// Compared as bytes: no column is above it, so a node with this rank goes left unless its mask says right.
constexpr unsigned char kNeverAbove = 0xFF;

constexpr std::uint32_t kNone = 0xFFFFFFFF;

// Cost of a mispredicted branch, in strides.
constexpr std::size_t kStridesPerMisprediction = 6;

template <typename Node>
bool is_leaf(const Node* nodes, std::uint32_t node) {
    return nodes[node].child == node;
}

// A walk node of one tree: inner nodes of its subtree, and those to the left of its subtree.
struct Number {
    std::uint32_t n_inner = 0, first = 0, depth = 0;
};

template <typename Node>
std::vector<Number> number_nodes(const Node* nodes, const TreeRecord& tree) {
    std::vector<Number> numbers(2 * std::size_t{tree.n_leaves} - 1);
    const auto at = [&](std::uint32_t node) -> Number& { return numbers[node - tree.root]; };
    // Children stand after their parents.
    const std::uint32_t end = tree.root + static_cast<std::uint32_t>(numbers.size());
    for (std::uint32_t n = end; n-- > tree.root;)
        if (!is_leaf(nodes, n)) at(n).n_inner = at(nodes[n].child).n_inner + 1 + at(nodes[n].child + 1).n_inner;
    for (std::uint32_t n = tree.root; n < end; ++n) {
        if (is_leaf(nodes, n)) continue;
        Number &left = at(nodes[n].child), &right = at(nodes[n].child + 1);
        left.depth = right.depth = at(n).depth + 1;
        left.first = at(n).first;
        right.first = at(n).first + left.n_inner + 1;
    }
    return numbers;
}

}  // namespace

std::unique_ptr<const PackedForest> PackedForest::pack(const Forest& f, std::size_t most_byte_columns) {
    if (f.sum_roundings != nullptr) return nullptr;
    std::unique_ptr<PackedForest> packed(new PackedForest());
    if (!packed->pack_features(f, most_byte_columns) || !packed->pack_blocks(f)) return nullptr;
    packed->pack_categories(f);
    PackedTrees& view = packed->view_;
    view.n_blocks = packed->blocks_.size();
    view.blocks = packed->blocks_.data();
    view.nodes = packed->nodes_->data();
    view.features = packed->features_.data();
    view.categories = packed->categories_.data();
    view.column_nodes = packed->column_nodes_.data();
    view.nodes_of_column = packed->nodes_of_column_.data();
    return packed;
}

bool PackedForest::pack_features(const Forest& f, std::size_t most_byte_columns) {
    std::size_t next = 0;
    byte_columns_.resize(f.first_category_column);
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        const std::size_t n_bytes = byte_columns(record.n_thresholds);
        if (n_bytes * record.n_columns > most_byte_columns - next) return false;
        features_.push_back({static_cast<std::uint32_t>(next), static_cast<std::uint32_t>(n_bytes)});
        for (std::uint32_t c = 0; c < record.n_columns; ++c, next += n_bytes)
            byte_columns_[record.first_column + c] = {static_cast<std::uint32_t>(next), static_cast<std::uint32_t>(n_bytes)};
    }
    view_.n_bytes = next;
    return true;
}

bool PackedForest::pack_blocks(const Forest& f) {
    std::size_t free_nodes = 0;
    for (std::uint32_t t = 0; t < f.n_trees; ++t) {
        const std::size_t n_nodes = f.trees[t].n_leaves - 1;
        if (n_nodes > kBlockNodes) return false;
        if (n_nodes == 0 || n_nodes > free_nodes || blocks_.back().n_trees == kMostBlockTrees) {
            blocks_.push_back({});
            blocks_.back().first_tree = t;
            blocks_.back().first_value = f.trees[t].first_value;
            free_nodes = n_nodes == 0 ? 0 : kBlockNodes;
        }
        ++blocks_.back().n_trees;
        free_nodes -= n_nodes;
    }
    nodes_ = std::make_unique<Arena<unsigned char>>(blocks_.size() * 4 * kBlockNodes);
    for (std::size_t block = 0; block < blocks_.size(); ++block)
        if (!(f.is_wide ? pack_block<WideNode>(f, block) : pack_block<NarrowNode>(f, block))) return false;
    level_strides();
    return true;
}

// Let shallow blocks take as many strides as most do: their number is then predicted.
void PackedForest::level_strides() {
    std::size_t best_cost = std::numeric_limits<std::size_t>::max();
    std::uint8_t best = 0;
    for (std::uint8_t strides = 0; strides <= kBlockNodes / kStride; ++strides) {
        const auto n_deeper = std::count_if(blocks_.begin(), blocks_.end(), [&](const PackedBlock& b) { return b.n_strides > strides; });
        const std::size_t cost = blocks_.size() * strides + kStridesPerMisprediction * static_cast<std::size_t>(n_deeper);
        if (cost < best_cost) best_cost = cost, best = strides;
    }
    for (PackedBlock& block : blocks_) block.n_strides = std::max(block.n_strides, best);
}

template <typename Node>
bool PackedForest::pack_block(const Forest& f, std::size_t block) {
    PackedBlock& record = blocks_[block];
    unsigned char* columns = nodes_->data() + block * 4 * kBlockNodes;
    unsigned char* ranks = columns + kBlockNodes;
    unsigned char* children[2] = {ranks + kBlockNodes, ranks + 2 * kBlockNodes};
    std::fill(ranks, ranks + kBlockNodes, kNeverAbove);
    const Node* nodes = static_cast<const Node*>(f.walk_nodes);
    std::vector<std::uint32_t> set_of_node(kBlockNodes, kNone);
    std::uint32_t next = 0, depth = 1;
    for (std::uint32_t t = 0; t < record.n_trees; ++t) {
        const TreeRecord& tree = f.trees[record.first_tree + t];
        const std::vector<Number> numbers = number_nodes(nodes, tree);
        const auto number = [&](std::uint32_t n) { return next + numbers[n - tree.root].first + numbers[nodes[n].child - tree.root].n_inner; };
        record.roots[t] = static_cast<unsigned char>(is_leaf(nodes, tree.root) ? next : number(tree.root));
        for (std::uint32_t n = tree.root; n < tree.root + numbers.size(); ++n) {
            const Node& node = nodes[n];
            if (is_leaf(nodes, n)) {
                // The leaf values of a file stand from left to right.
                if (node.rank != numbers[n - tree.root].first) return false;
                depth = std::max(depth, numbers[n - tree.root].depth);
                continue;
            }
            const std::uint32_t self = number(n);
            if (self - next >= tree.n_leaves - 1) return false;
            if (node.column >= f.first_category_column) {
                record.category_nodes |= std::uint64_t{1} << self;
                set_of_node[self] = node.column - f.first_category_column;
            } else if (node.column != 0) {
                const ByteColumn& bytes = byte_columns_[node.column];
                if (node.rank / kByteRanks >= bytes.count) return false;
                columns[self] = static_cast<unsigned char>(bytes.first + node.rank / kByteRanks);
                ranks[self] = static_cast<unsigned char>(node.rank % kByteRanks);
            }
            for (const std::uint32_t side : {0u, 1u}) {
                const std::uint32_t child = node.child + side;
                children[side][self] = static_cast<unsigned char>(is_leaf(nodes, child) ? self : number(child));
            }
        }
        next += tree.n_leaves - 1;
    }
    std::uint32_t n_categories = 0;
    for (const std::uint32_t set : set_of_node)
        if (set != kNone) category_nodes_.push_back({set, static_cast<std::uint32_t>(block * kBlockNodes) + n_categories++});
    most_category_nodes_ = std::max(most_category_nodes_, n_categories);
    // A path of `depth` steps takes depth - 1 of them between inner nodes.
    record.n_steps = static_cast<std::uint8_t>(depth - 1);
    record.n_strides = static_cast<std::uint8_t>((depth + kStride - 2) / kStride);
    return true;
}

void PackedForest::pack_categories(const Forest& f) {
    const std::size_t n_sets = f.n_columns - f.first_category_column;
    column_nodes_.assign(n_sets + 1, 0);
    for (const CategoryNode& node : category_nodes_) ++column_nodes_[node.set + 1];
    for (std::size_t set = 0; set < n_sets; ++set) column_nodes_[set + 1] += column_nodes_[set];
    nodes_of_column_.resize(category_nodes_.size());
    std::vector<std::uint32_t> next(column_nodes_);
    for (const CategoryNode& node : category_nodes_) nodes_of_column_[next[node.set]++] = node.bit;
    category_masks_.resize(f.category_features.count);
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        CategoryMasks& masks = category_masks_[i];
        masks.all_right.resize(blocks_.size());
        masks.missing.resize(blocks_.size());
        const std::uint32_t first_set = record.first_column - f.first_category_column;
        for (std::uint32_t set = first_set; set < first_set + record.n_columns; ++set)
            for (std::uint32_t n = column_nodes_[set]; n < column_nodes_[set + 1]; ++n) {
                const std::uint32_t node = nodes_of_column_[n];
                const std::uint64_t bit = std::uint64_t{1} << (node % kBlockNodes);
                masks.all_right[node / kBlockNodes] |= bit;
                if (f.category_defaults[set] != 0) masks.missing[node / kBlockNodes] |= bit;
            }
        const std::size_t n_masks = (std::size_t{record.n_codes} + 2) * blocks_.size();
        if (most_category_nodes_ <= 32 && n_masks * sizeof(std::uint32_t) <= kMaskBytes)
            pack_masks(f, record, masks, masks.narrow);
        else if (n_masks * sizeof(std::uint64_t) <= kMaskBytes)
            pack_masks(f, record, masks, masks.wide);
        categories_.push_back({masks.narrow.empty() ? nullptr : masks.narrow.data(), masks.wide.empty() ? nullptr : masks.wide.data(),
                               masks.all_right.data(), masks.missing.data()});
    }
}

// Masks of every code: all nodes go right but those whose set holds the code.
template <typename Mask>
void PackedForest::pack_masks(const Forest& f, const CategoryFeature& record, const CategoryMasks& masks,
                              std::vector<Mask>& by_code) const {
    const std::size_t n_blocks = blocks_.size();
    by_code.reserve((std::size_t{record.n_codes} + 2) * n_blocks);
    const std::vector<Mask> all_right(masks.all_right.begin(), masks.all_right.end());
    for (std::uint32_t code = 0; code <= record.n_codes; ++code) by_code.insert(by_code.end(), all_right.begin(), all_right.end());
    by_code.insert(by_code.end(), masks.missing.begin(), masks.missing.end());
    for (std::uint32_t code = 0; code < record.n_codes; ++code) {
        Mask* row = by_code.data() + code * n_blocks;
        const std::size_t members = record.first_code + code;
        for (std::uint32_t m = f.code_members[members]; m < f.code_members[members + 1]; ++m) {
            const std::uint32_t set = f.members[m] - f.first_category_column;
            for (std::uint32_t n = column_nodes_[set]; n < column_nodes_[set + 1]; ++n)
                row[nodes_of_column_[n] / kBlockNodes] &= static_cast<Mask>(~(Mask{1} << (nodes_of_column_[n] % kBlockNodes)));
        }
    }
}

}  // namespace mlrf
