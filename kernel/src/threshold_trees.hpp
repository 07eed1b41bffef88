// Makes the search trees of a forest's thresholds (threshold_tree.hpp), once, when the forest is opened.
#pragma once

#include <memory>
#include <vector>

#include "arena.hpp"
#include "forest.hpp"
#include "threshold_tree.hpp"

namespace mlrf {

class ThresholdTrees {
public:
    // Makes the trees, and lets the forest refer to them.
    explicit ThresholdTrees(Forest& f);

private:
    template <typename Number>
    void lay_out(const Forest& f, Number* numbers);

    std::vector<ThresholdTree> trees_;
    std::unique_ptr<Arena<unsigned char>> numbers_;
};

}  // namespace mlrf
