// The game whose players are groups of features: a group is known as a whole, or not at all.
//
// On the path to a leaf a group is one factor, as a feature is in shap.hpp: Z and R are those of all its splits together. So the
// explained trees stay as they are, but for the owner of each split, the nearest earlier split of the same owner, and the number of
// quadrature nodes, which can only become smaller.
#pragma once

#include <cstdint>
#include <vector>

#include "forest.hpp"
#include "shares.hpp"

namespace mlrf {

class GroupedGame {
public:
    // `group_of` [n_features], each below n_groups. Throws std::invalid_argument for other numbers, and where the features of a
    // combination of categories are in several groups; ForestFileError where nodes are not trees.
    GroupedGame(const Forest& f, const std::uint32_t* group_of, std::size_t n_groups);

    // The forest with the explained trees of this game; valid as long as this and the forest that it was made from.
    Forest game() const;
    // A contribution for each group.
    Shares shares() const;

private:
    void assign(const std::uint32_t* group_of);
    void rebuild(const ShapChunk& chunk);

    const Forest f_;
    std::vector<std::uint32_t> group_of_player_, features_;
    std::vector<ShapChunk> chunks_;
    std::vector<ShapRun> runs_;
    std::vector<ShapNode> nodes_;
};

}  // namespace mlrf
