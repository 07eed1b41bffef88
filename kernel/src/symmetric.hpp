// Symmetric (oblivious) trees, as CatBoost grows them: all nodes of a level test the same column for the same rank, so that the
// decisions of a row, from the root down, are the bits of its leaf number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "forest.hpp"
#include "scratch.hpp"

namespace mlrf {

// Finds the symmetric trees of a forest that is swept.
class SymmetricForest {
public:
    explicit SymmetricForest(const Forest& f);

    // Whether every tree of a swept forest is symmetric.
    bool holds_all() const { return holds_all_; }

    // Of all trees.
    std::size_t n_levels() const { return levels_.size(); }

    SymmetricTrees view() const { return {first_level_.data(), levels_.data(), row_levels_.data()}; }

private:
    bool holds_all_ = false;
    std::vector<std::uint32_t> first_level_;
    std::vector<SymmetricLevel> levels_;
    std::vector<SymmetricRowLevel> row_levels_;
};

}  // namespace mlrf
