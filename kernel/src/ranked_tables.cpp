#include "ranked_tables.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "direct_cells.hpp"
#include "key_conditions.hpp"

namespace mlrf {
namespace {

constexpr std::size_t kNone = ~std::size_t{0};

bool is_rankable(const Forest& f) {
    if (f.tables.count == 0 || f.sweep_lane_bytes == 0) return false;
    // Sets of codes are of categories as they are given; a damaged file may say otherwise.
    for (std::size_t i = 0; i < f.category_features.count; ++i)
        if (f.category_features[i].feature >= f.n_features) return false;
    // A column for each rule at most, so that the lanes cannot take many times the memory of the file.
    for (std::size_t i = 0; i < f.numeric_features.count; ++i)
        if (f.numeric_features[i].feature >= f.n_features && f.numeric_features[i].n_columns > kColumnRuleCount) return false;
    return true;
}

// The numeric feature of each computed value, kNone for one that no node tests.
std::vector<std::size_t> computed_features(const Forest& f, std::size_t n_given) {
    std::vector<std::size_t> found(f.n_inputs - f.n_features, kNone);
    for (std::size_t i = n_given; i < f.numeric_features.count; ++i) found[f.numeric_features[i].feature - f.n_features] = i;
    return found;
}

constexpr std::uint64_t kMostStepsPerKey = 256;

// Cells may take as much memory as the keys of their table and a little more, and those of all tables two megabytes: a processor's
// second cache.
constexpr std::size_t kFreeCellBytes = 1024, kMostCellBytes = std::size_t{2} << 20;

// Where a search for a key ends: at its slot, or at a free one.
const TableSlot* find_slot(const TableSlot* slots, std::uint32_t slot_bits, std::uint64_t key) {
    const std::uint64_t mask = (std::uint64_t{1} << slot_bits) - 1;
    std::uint64_t at = key_slot(key, slot_bits);
    while (slots[at].is_used != 0 && slots[at].key != key) at = (at + 1) & mask;
    return slots + at;
}

}  // namespace

std::unique_ptr<const RankedTableStorage> RankedTableStorage::rank(const Forest& f, const Level& level) {
    if (!is_rankable(f)) return nullptr;
    std::unique_ptr<const RankedTableStorage> ranked(new RankedTableStorage(f, level));
    return ranked->is_placed_ ? std::move(ranked) : nullptr;
}

RankedTableStorage::RankedTableStorage(const Forest& f, const Level& level) : view_{} {
    std::size_t n_given = 0;
    while (n_given < f.numeric_features.count && f.numeric_features[n_given].feature < f.n_features) ++n_given;
    view_.n_given = n_given;
    number_operands(f);
    rank_values(f, level);
    view_.tables = tables_.data();
    view_.keys = keys_.data();
    view_.columns = columns_.data();
    view_.lanes = lanes_.data();
    view_.searched = searched_.data();
    view_.n_searched = searched_.size();
    view_.direct = direct_.data();
    view_.n_direct = direct_.size();
    view_.parts = direct_parts_.data();
    view_.direct_columns = direct_columns_.data();
    view_.cells = cells_.data();
    view_.operands = operands_.data();
    view_.conditions = conditions_.data();
    view_.n_conditions = conditions_.size();
}

void RankedTableStorage::number_operands(const Forest& f) {
    std::map<Condition, std::uint32_t> numbers;
    for (std::size_t p = 0; p < f.key_parts.count; ++p)
        if (f.key_parts[p].kind != kCategory) numbers.try_emplace(condition_of(f.key_parts[p]), static_cast<std::uint32_t>(p));
    for (auto& [condition, number] : numbers) {
        conditions_.push_back(f.key_parts[number]);
        number = static_cast<std::uint32_t>(conditions_.size() - 1);
    }
    for (std::size_t p = 0; p < f.key_parts.count; ++p) {
        const KeyPart& part = f.key_parts[p];
        operands_.push_back(part.kind == kCategory ? part.source : numbers.at(condition_of(part)));
    }
}

// Place the keys of a table; the entry of each slot, and of a row without a key.
std::vector<std::uint32_t> RankedTableStorage::place_keys(const Forest& f, const TableRecord& table, RankedTable& ranked) {
    const TableSlot* slots = f.table_slots.data + table.first_slot;
    const std::uint64_t n_slots = std::uint64_t{1} << table.slot_bits;
    std::uint64_t n_keys = 0;
    for (std::uint64_t at = 0; at < n_slots; ++at) n_keys += slots[at].is_used != 0;
    while (find_slot(slots, table.slot_bits, ranked.free_key)->is_used != 0) ++ranked.free_key;
    while ((std::uint64_t{1} << ranked.slot_bits) * 2 < n_keys * 3 + 2) ++ranked.slot_bits;
    const std::uint64_t mask = (std::uint64_t{1} << ranked.slot_bits) - 1;
    keys_.resize(ranked.first_slot + mask + 1, ranked.free_key);
    std::vector<std::uint32_t> entries(mask + 2, table.n_entries);
    // Hashes are found after a few steps. In a crafted file all keys may begin at one slot: it would open in quadratic time.
    std::uint64_t n_steps = 0;
    const std::uint64_t most_steps = kMostStepsPerKey * (n_keys + kMostStepsPerKey);
    for (std::uint64_t at = 0; at < n_slots && n_steps <= most_steps; ++at) {
        if (slots[at].is_used == 0) continue;
        const std::uint64_t home = key_slot(slots[at].key, table.slot_bits);
        n_steps += (at - home) & (n_slots - 1);
        // A damaged file may hold keys that a search does not find.
        if (n_steps > most_steps || find_slot(slots, table.slot_bits, slots[at].key) != slots + at) continue;
        std::uint64_t to = key_slot(slots[at].key, ranked.slot_bits);
        for (; keys_[ranked.first_slot + to] != ranked.free_key; ++n_steps) to = (to + 1) & mask;
        keys_[ranked.first_slot + to] = slots[at].key;
        entries[to] = slots[at].entry;
    }
    is_placed_ &= n_steps <= most_steps;
    return entries;
}

void RankedTableStorage::rank_values(const Forest& f, const Level& level) {
    const std::size_t lane_bytes = f.sweep_lane_bytes;
    features_ = computed_features(f, view_.n_given);
    std::vector<std::vector<std::uint32_t>> entries_of_slots;
    std::size_t n_lanes = 0;
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        const TableRecord& table = f.tables[t];
        RankedTable ranked{0, keys_.size(), n_lanes, 1, static_cast<std::uint32_t>(columns_.size()), 0, false};
        for (std::uint32_t c = 0; c < table.n_columns; ++c) {
            if (features_[table.first_column + c] == kNone) continue;
            const NumericFeature& feature = f.numeric_features[features_[table.first_column + c]];
            for (std::uint32_t i = 0; i < feature.n_columns; ++i) columns_.push_back(feature.first_column + i);
        }
        ranked.n_columns = static_cast<std::uint32_t>(columns_.size()) - ranked.first_column;
        entries_of_slots.push_back(ranked.n_columns > 0 ? place_keys(f, table, ranked) : std::vector<std::uint32_t>{});
        n_lanes += entries_of_slots.back().size() * ranked.n_columns;
        tables_.push_back(ranked);
    }
    lanes_.resize(n_lanes * lane_bytes);
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        if (tables_[t].n_columns == 0) continue;
        const std::vector<unsigned char> lanes = lanes_of_entries(f, level, t);
        const std::size_t row_bytes = tables_[t].n_columns * lane_bytes;
        unsigned char* out = lanes_.data() + tables_[t].first_lane * lane_bytes;
        for (const std::uint32_t entry : entries_of_slots[t]) {
            std::memcpy(out, lanes.data() + entry * row_bytes, row_bytes);
            out += row_bytes;
        }
        place_cells(f, t, lanes);
    }
    order_tables();
}

// Lanes [n_entries + 1][n_columns] of a table.
std::vector<unsigned char> RankedTableStorage::lanes_of_entries(const Forest& f, const Level& level, std::size_t t) const {
    const TableRecord& table = f.tables[t];
    const std::size_t lane_bytes = f.sweep_lane_bytes, block_rows = kSweepBytes / lane_bytes;
    const std::size_t n_rows = std::size_t{table.n_entries} + 1, row_bytes = tables_[t].n_columns * lane_bytes;
    const Arena<unsigned char> block(tables_[t].n_columns * kSweepBytes);
    std::vector<unsigned char> lanes(n_rows * row_bytes);
    std::size_t column = 0;
    for (std::uint32_t c = 0; c < table.n_columns; ++c) {
        if (features_[table.first_column + c] == kNone) continue;
        const NumericFeature& feature = f.numeric_features[features_[table.first_column + c]];
        for (std::size_t row = 0; row < n_rows; row += block_rows) {
            const std::size_t n = std::min(block_rows, n_rows - row);
            level.rank_values(f, feature, f.table_values.data + table.first_value + row * table.n_columns + c, table.n_columns, n,
                              block.data());
            for (std::size_t i = 0; i < feature.n_columns; ++i)
                for (std::size_t r = 0; r < n; ++r)
                    std::memcpy(lanes.data() + (row + r) * row_bytes + (column + i) * lane_bytes,
                                block.data() + i * kSweepBytes + r * lane_bytes, lane_bytes);
        }
        column += feature.n_columns;
    }
    return lanes;
}

// Place the cells of a table, if it has few.
void RankedTableStorage::place_cells(const Forest& f, std::size_t t, const std::vector<unsigned char>& lanes) {
    RankedTable& ranked = tables_[t];
    const TableRecord& table = f.tables[t];
    const std::size_t row_bytes = ranked.n_columns * f.sweep_lane_bytes;
    const std::size_t keys_bytes = sizeof(std::uint64_t) << ranked.slot_bits;
    const std::size_t most_bytes = std::min(keys_bytes + kFreeCellBytes, kMostCellBytes - std::min(kMostCellBytes, cells_.size()));
    const DirectCells found = direct_cells(f, table, most_bytes / row_bytes);
    if (found.entries.empty()) return;
    ranked.has_cells = true;
    CellTable made{{cells_.size() / f.sweep_lane_bytes, table.n_parts, ranked.n_columns}, t, {}};
    for (std::size_t p = 0; p < table.n_parts; ++p) {
        const std::uint32_t operand = operands_[table.first_part + p];
        const bool is_category = f.key_parts[table.first_part + p].kind == kCategory;
        made.parts.push_back({is_category ? operand : static_cast<std::uint32_t>(f.hashed_features.count) + operand,
                              found.strides[p] * ranked.n_columns});
    }
    cell_tables_.push_back(std::move(made));
    for (const std::uint32_t entry : found.entries)
        cells_.insert(cells_.end(), lanes.begin() + static_cast<std::ptrdiff_t>(entry * row_bytes),
                      lanes.begin() + static_cast<std::ptrdiff_t>((entry + 1) * row_bytes));
}

void RankedTableStorage::order_tables() {
    std::stable_sort(cell_tables_.begin(), cell_tables_.end(),
                     [](const CellTable& a, const CellTable& b) {
                         return std::pair{a.table.n_parts, a.table.n_columns} < std::pair{b.table.n_parts, b.table.n_columns};
                     });
    for (const CellTable& each : cell_tables_) {
        const std::uint32_t* columns = columns_.data() + tables_[each.number].first_column;
        direct_.push_back(each.table);
        direct_parts_.insert(direct_parts_.end(), each.parts.begin(), each.parts.end());
        direct_columns_.insert(direct_columns_.end(), columns, columns + each.table.n_columns);
    }
    for (const bool has_cells : {false, true}) {
        for (std::size_t t = 0; t < tables_.size(); ++t)
            if (tables_[t].n_columns > 0 && tables_[t].has_cells == has_cells) searched_.push_back(static_cast<std::uint32_t>(t));
        if (!has_cells) view_.n_without_cells = searched_.size();
    }
}

}  // namespace mlrf
