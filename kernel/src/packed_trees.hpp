// Packs the trees of a forest for byte permutation (packed.hpp), once, when the forest is opened.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "arena.hpp"
#include "forest.hpp"
#include "packed.hpp"

namespace mlrf {

class PackedForest {
public:
    // Return nullptr if the forest does not fit: a tree of more than 64 inner nodes, or more byte columns than the level reads.
    static std::unique_ptr<const PackedForest> pack(const Forest& f, std::size_t most_byte_columns);

    const PackedTrees& view() const { return view_; }

private:
    struct CategoryMasks {
        std::vector<std::uint32_t> narrow;
        std::vector<std::uint64_t> wide, all_right, missing;
    };

    struct ByteColumn {
        std::uint32_t first, count;
    };

    struct CategoryNode {
        std::uint32_t set, bit;
    };

    PackedForest() = default;
    bool pack_features(const Forest& f, std::size_t most_byte_columns);
    bool pack_blocks(const Forest& f);
    template <typename Node>
    bool pack_block(const Forest& f, std::size_t block);
    void level_strides();
    void pack_categories(const Forest& f);
    template <typename Mask>
    void pack_masks(const Forest& f, const CategoryFeature& record, const CategoryMasks& masks, std::vector<Mask>& by_code) const;

    std::vector<ByteColumn> byte_columns_;  // by numeric column
    std::vector<PackedFeature> features_;
    std::vector<PackedBlock> blocks_;
    std::unique_ptr<Arena<unsigned char>> nodes_;
    std::vector<CategoryMasks> category_masks_;
    std::vector<PackedCategories> categories_;
    std::vector<CategoryNode> category_nodes_;
    std::vector<std::uint32_t> column_nodes_, nodes_of_column_;  // by category column: block * 64 + bit of the block's masks
    std::uint32_t most_category_nodes_ = 0;
    PackedTrees view_{};
};

}  // namespace mlrf
