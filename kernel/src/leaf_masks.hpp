// Which players of the path to each leaf have a test that a row fails.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "scratch.hpp"

namespace mlrf {
namespace {

// Set failed[slot] of each slot of a chunk; the bit of a node's player on its path is bits[node]. Each file that includes this
// compiles its own copy, for its instruction set.
template <typename Column>
inline void mark_failed(const Forest& f, const ShapChunk& chunk, const std::uint8_t* bits, const Column* columns, std::uint32_t* failed) {
    const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
    const std::uint8_t* bit = bits + chunk.first_node;
    for (std::size_t root = 0; root < chunk.n_roots; ++root) failed[root] = 0;
    for (std::size_t i = 0; i < chunk.n_nodes; ++i) {
        const std::uint32_t goes_right = columns[nodes[i].column] > nodes[i].rank;
        failed[nodes[i].left] = failed[i] | goes_right << bit[i];
        failed[nodes[i].right] = failed[i] | (1 - goes_right) << bit[i];
    }
}

}  // namespace
}  // namespace mlrf
