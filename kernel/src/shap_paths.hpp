// The splits above each node of the explained trees, which interactions need in addition to the nodes themselves.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "forest.hpp"
#include "scratch.hpp"

namespace mlrf {

// Explaining would take more memory than the limit allows; what() is a complete sentence.
struct TooLargeError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Two players of one output, the first below the second.
struct Pair {
    std::uint32_t output, first, second;  // players: indices in kShapFeatures
};

class PairLists {
public:
    // Throws ForestFileError where nodes are not trees, and TooLargeError where the lists take more than `most_bytes`.
    PairLists(const Forest& f, std::size_t most_bytes);

    PairPaths view() const { return {first_edge_.data(), edges_.data(), pairs_.size()}; }
    const std::vector<Pair>& pairs() const { return pairs_; }

private:
    std::vector<std::uint32_t> first_edge_;
    std::vector<PairedEdge> edges_;
    std::vector<Pair> pairs_;
};

// Mark the roots of a chunk's trees and check that every other slot has exactly one parent: parents[slot] is 2 * node + (1 if right),
// kNoEarlier for a root. Throws ForestFileError.
std::vector<std::uint32_t> parents_of(const Forest& f, const ShapChunk& chunk);

}  // namespace mlrf
