// The cells of a look-up table by direct addressing: an entry for every combination of the codes and conditions of its key.
//
// A search of a hash table takes two multiplications of 64 bits a part, a load of eight bytes and a comparison; a cell takes an addition
// a part and a load of the lane. Tables of few categories have few combinations, most of which were trained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "forest.hpp"

namespace mlrf {

// Cells in the order of their numbers: the last part's codes or conditions are fastest.
struct DirectCells {
    std::vector<std::uint32_t> entries;  // n_entries for a key that is not in the table, and for a row without a category
    std::vector<std::uint32_t> strides;  // of each part, in cells
};

// No entries for a table of more than most_cells, or of a file that was crafted to make its keys long to find.
DirectCells direct_cells(const Forest& f, const TableRecord& table, std::size_t most_cells);

}  // namespace mlrf
