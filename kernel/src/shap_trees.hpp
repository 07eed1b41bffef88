// Lays out the explained trees of a forest for SHAP values of its rows, in memory: the file keeps the order that interactions need.
#pragma once

#include <cstdint>
#include <vector>

#include "forest.hpp"
#include "shap_layout.hpp"

namespace mlrf {

class ShapTrees {
public:
    // Takes any explained trees that check_forest accepts; damaged ones, which may not be trees, give other numbers, not other memory.
    explicit ShapTrees(const Forest& f);

    const ShapLayout& view() const { return view_; }

private:
    template <typename Index>
    void lay_out(const Forest& f, std::vector<UpperNode<Index>>& upper, std::vector<LastNode<Index>>& last);
    template <typename Index>
    void add_chunk(const Forest& f, const std::vector<ShapChunk>& chunks, std::vector<UpperNode<Index>>& upper,
                   std::vector<LastNode<Index>>& last);

    std::vector<UpperNode<std::uint16_t>> short_upper_;
    std::vector<LastNode<std::uint16_t>> short_last_;
    std::vector<UpperNode<std::uint32_t>> long_upper_;
    std::vector<LastNode<std::uint32_t>> long_last_;
    std::vector<UpperRun> runs_;
    std::vector<double> earlier_shares_, leaves_;
    std::vector<std::uint32_t> roots_;
    std::vector<LaidOutChunk> chunks_;
    ShapLayout view_;
};

}  // namespace mlrf
