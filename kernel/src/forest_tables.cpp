// Checks of what computes columns from a row: hashes of categories, look-up tables, and the groups of features behind them.
#include "forest_checks.hpp"

namespace mlrf {

void check_hashed_features(const Forest& f) {
    std::uint64_t next_code = 0;
    std::int64_t last_feature = -1;
    for (std::size_t i = 0; i < f.hashed_features.count; ++i) {
        const HashedFeature& record = f.hashed_features[i];
        require(record.feature < f.n_features && std::int64_t{record.feature} > last_feature, "a hashed feature is out of order");
        require(record.first_code == next_code && is_within(next_code, record.n_codes, f.code_hashes.count),
                "hashes of codes end early");
        next_code += record.n_codes;
        last_feature = record.feature;
    }
    require(next_code == f.code_hashes.count, "a hash has no feature");
}

void check_tables(const Forest& f) {
    for (std::size_t i = 0; i < f.key_parts.count; ++i) {
        const KeyPart& part = f.key_parts[i];
        require(part.kind < kKeyPartKindCount && part.nan_is_above <= 1, "a part of a key is unknown");
        require(part.source < (part.kind == kAbove ? std::size_t{f.n_features} : f.hashed_features.count),
                "a part of a key has no feature");
    }
    std::uint64_t next_part = 0, next_slot = 0, next_value = 0, next_column = 0;
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        const TableRecord& table = f.tables[t];
        require(table.first_part == next_part && is_within(next_part, table.n_parts, f.key_parts.count),
                "parts of keys end early");
        require(table.slot_bits >= 1 && table.slot_bits <= kMaxSlotBits, "a table's size is out of range");
        const std::uint64_t n_slots = std::uint64_t{1} << table.slot_bits;
        require(table.first_slot == next_slot && is_within(next_slot, n_slots, f.table_slots.count), "a table ends early");
        // Both factors fit 32 bits, so that their product cannot overflow.
        const std::uint64_t n_values = (std::uint64_t{table.n_entries} + 1) * table.n_columns;
        require(table.first_value == next_value && is_within(next_value, n_values, f.table_values.count),
                "a table's values end early");
        require(table.first_column == next_column, "a table's columns are out of order");
        bool has_end = false;
        for (std::uint64_t s = next_slot; s < next_slot + n_slots; ++s) {
            has_end |= f.table_slots[s].is_used == 0;
            require(f.table_slots[s].is_used == 0 || f.table_slots[s].entry < table.n_entries, "a key has no values");
        }
        require(has_end, "a table is full");
        next_part += table.n_parts;
        next_slot += n_slots;
        next_value += n_values;
        next_column += table.n_columns;
        require(next_column <= f.n_inputs - f.n_features, "a table has more columns than the header says");
    }
    require(next_part == f.key_parts.count && next_slot == f.table_slots.count && next_value == f.table_values.count,
            "a part of a table has no table");
    require(next_column == f.n_inputs - f.n_features, "a computed column has no table");
}

void check_feature_groups(const Forest& f) {
    require(f.feature_groups.count <= f.n_inputs - f.n_features, "there are more groups of features than computed columns");
    std::uint64_t next = 0;
    for (std::size_t g = 0; g < f.feature_groups.count; ++g) {
        const FeatureGroup& group = f.feature_groups[g];
        require(group.first == next && group.count >= 1 && is_within(next, group.count, f.group_features.count),
                "groups of features are out of order");
        next += group.count;
    }
    require(next == f.group_features.count, "a feature has no group");
    for (std::size_t i = 0; i < f.group_features.count; ++i)
        require(f.group_features[i] < f.n_features, "a group holds no feature");
    for (std::size_t i = 0; i < f.shap_features.count; ++i)
        require(f.shap_features[i] < f.n_features + f.feature_groups.count, "a contribution has no feature");
}

}  // namespace mlrf
