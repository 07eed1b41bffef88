// The byte columns and category masks of a row, for packed trees (packed.hpp).
#pragma once

#include "forest.hpp"
#include "packed.hpp"
#include "ranks.hpp"

namespace mlrf::MLRF_LEVEL {

// The part of a rank above the first thresholds, as a byte; 255 if it is greater.
inline unsigned char byte_above(std::uint32_t column, std::size_t first_rank) {
    const std::size_t above = column <= first_rank ? 0 : column - first_rank;
    return static_cast<unsigned char>(above < 255 ? above : 255);
}

template <typename Value>
void fill_bytes(const Forest& f, const PackedTrees& p, const Value* values, unsigned char* bytes) {
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        const PackedFeature& packed = p.features[i];
        const double value = read_value(f, values[record.feature]);
        const bool is_nan = value != value;
        const double x = is_nan ? 0.0 : value;
        const bool is_zero = x >= -kZeroBand && x <= kZeroBand;
        const std::uint8_t* rules = f.column_rules.data + (record.first_column - 1);
        unsigned char* out = bytes + packed.first_byte;
        const std::size_t rank = rank_value(f, record, x);
        if (packed.n_bytes == 1) {
            for (std::size_t c = 0; c < record.n_columns; ++c)
                out[c] = read_column<unsigned char>(rules[c], rank, is_nan, is_zero);
            continue;
        }
        for (std::size_t c = 0; c < record.n_columns; ++c) {
            const std::uint32_t column = read_column<std::uint32_t>(rules[c], rank, is_nan, is_zero);
            for (std::size_t b = 0; b < packed.n_bytes; ++b) *out++ = byte_above(column, b * kByteRanks);
        }
    }
}

template <typename Mask>
void add_masks(const Mask* masks, std::size_t n_blocks, bool is_first, std::uint64_t* masks_of_row) {
    if (is_first)
        for (std::size_t b = 0; b < n_blocks; ++b) masks_of_row[b] = masks[b];
    else
        for (std::size_t b = 0; b < n_blocks; ++b) masks_of_row[b] |= masks[b];
}

// Set the bits of the nodes of one category feature that the code at `index` sends right, for a feature without masks.
inline void scatter_masks(const Forest& f, const PackedTrees& p, const CategoryFeature& record, const PackedCategories& categories,
                          std::size_t index, bool is_first, std::uint64_t* masks_of_row) {
    add_masks(index > record.n_codes ? categories.missing : categories.all_right, p.n_blocks, is_first, masks_of_row);
    if (index >= record.n_codes) return;
    const std::size_t code = record.first_code + index;
    for (std::size_t m = f.code_members[code]; m < f.code_members[code + 1]; ++m) {
        const std::size_t column = f.members[m] - f.first_category_column;
        for (std::size_t n = p.column_nodes[column]; n < p.column_nodes[column + 1]; ++n)
            masks_of_row[p.nodes_of_column[n] / kBlockNodes] &= ~(std::uint64_t{1} << (p.nodes_of_column[n] % kBlockNodes));
    }
}

template <typename Value>
void fill_masks(const Forest& f, const PackedTrees& p, const Value* values, std::uint64_t* masks_of_row) {
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        const PackedCategories& packed = p.categories[i];
        const std::size_t index = find_code_index(f, record, read_value(f, values[record.feature]));
        if (packed.narrow_masks != nullptr)
            add_masks(packed.narrow_masks + index * p.n_blocks, p.n_blocks, i == 0, masks_of_row);
        else if (packed.masks != nullptr)
            add_masks(packed.masks + index * p.n_blocks, p.n_blocks, i == 0, masks_of_row);
        else
            scatter_masks(f, p, record, packed, index, i == 0, masks_of_row);
    }
}

}  // namespace mlrf::MLRF_LEVEL
