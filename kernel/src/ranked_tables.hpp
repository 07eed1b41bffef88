// The look-up tables of a swept forest with their values ranked among the thresholds, once, when the forest is opened: a sweep
// compares ranks, so blocks of rows then look up what is compared. Copies are made of all tables' keys, in slots of eight bytes
// instead of the file's sixteen, and values, in one or two bytes each; and, of tables with few combinations of codes and conditions,
// of the values of every combination (direct_cells.hpp), if they take no more memory than the keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "arena.hpp"
#include "level.hpp"
#include "scratch.hpp"

namespace mlrf {

class RankedTableStorage {
public:
    // Returns nullptr for a forest without tables, or one that is not swept.
    static std::unique_ptr<const RankedTableStorage> rank(const Forest& f, const Level& level);

    const RankedTables& view() const { return view_; }

private:
    RankedTableStorage(const Forest& f, const Level& level);
    void number_operands(const Forest& f);
    void rank_values(const Forest& f, const Level& level);
    std::vector<std::uint32_t> place_keys(const Forest& f, const TableRecord& table, RankedTable& ranked);
    std::vector<unsigned char> lanes_of_entries(const Forest& f, const Level& level, std::size_t t) const;
    void place_cells(const Forest& f, std::size_t t, const std::vector<unsigned char>& lanes);
    void order_tables();

    struct CellTable {
        DirectTable table;
        std::size_t number;
        std::vector<DirectPart> parts;
    };

    std::vector<std::size_t> features_;  // of computed values, kNone for one that no node tests
    std::vector<RankedTable> tables_;
    std::vector<CellTable> cell_tables_;
    std::vector<DirectTable> direct_;
    std::vector<DirectPart> direct_parts_;
    std::vector<std::uint32_t> direct_columns_, searched_;
    std::vector<unsigned char> cells_;
    std::vector<std::uint64_t> keys_;
    std::vector<std::uint32_t> columns_, operands_;
    std::vector<KeyPart> conditions_;
    std::vector<unsigned char> lanes_;
    RankedTables view_;
    bool is_placed_ = true;  // false for tables whose keys are no hashes
};

}  // namespace mlrf
