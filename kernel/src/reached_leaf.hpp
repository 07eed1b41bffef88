// The leaf that a row's columns lead to in one tree.
#pragma once

#include <cstdint>

#include "forest.hpp"

namespace mlrf {

template <typename Node, typename Column>
std::uint32_t walk_to_leaf(const Forest& f, const unsigned char* columns, const TreeRecord& tree) {
    const Node* nodes = static_cast<const Node*>(f.walk_nodes);
    const Column* values = reinterpret_cast<const Column*>(columns);
    std::uint32_t at = tree.root;
    // A leaf is its own child.
    while (nodes[at].child != at) at = nodes[at].child + static_cast<std::uint32_t>(values[nodes[at].column] > nodes[at].rank);
    return nodes[at].rank;
}

// Return the leaf's index among the leaves of its tree.
inline std::uint32_t reached_leaf(const Forest& f, const unsigned char* columns, const TreeRecord& tree) {
    return f.is_wide ? walk_to_leaf<WideNode, std::uint32_t>(f, columns, tree)
                     : walk_to_leaf<NarrowNode, std::uint16_t>(f, columns, tree);
}

}  // namespace mlrf
