// The look-up tables of a swept forest with their values ranked among the thresholds, once, when the forest is opened: a sweep
// compares ranks, so blocks of rows then look up what is compared. Copies are made of all tables' keys, in slots of eight bytes
// instead of the file's sixteen, and values, in one or two bytes each.
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

    std::vector<RankedTable> tables_;
    std::vector<std::uint64_t> keys_;
    std::vector<std::uint32_t> columns_, operands_;
    std::vector<KeyPart> conditions_;
    std::vector<unsigned char> lanes_;
    RankedTables view_;
    bool is_placed_ = true;  // false for tables whose keys are no hashes
};

}  // namespace mlrf
