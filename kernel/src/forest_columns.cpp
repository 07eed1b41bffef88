// Checks of the columns that nodes test: numeric features with their thresholds, category features with their sets.
#include "forest_checks.hpp"

namespace mlrf {

void check_numeric_features(Forest& f) {
    std::uint64_t next_column = 1;
    std::uint64_t next_threshold = 0;
    std::int64_t last_feature = -1;
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        require(record.feature < f.n_inputs && std::int64_t{record.feature} > last_feature,
                "a numeric feature is out of order");
        require(record.first_threshold == next_threshold, "thresholds are out of order");
        require(is_within(record.first_threshold, record.n_thresholds, f.thresholds.count), "thresholds end early");
        require(record.first_column == next_column, "numeric columns are out of order");
        next_column += record.n_columns;
        next_threshold += record.n_thresholds;
        require(next_column <= f.first_category_column, "numeric columns end early");
        require(f.is_wide || record.n_thresholds < 0xFFFF, "a feature has too many thresholds for 16 bits");
        if (f.sweep_lane_bytes == 1) {
            const std::uint64_t n_further = std::uint64_t{record.n_columns} * (byte_columns(record.n_thresholds) - 1);
            require(n_further == 0 || f.tables.count == 0, "a feature beside look-up tables has too many thresholds for 8 bits");
            require(f.n_sweep_columns + n_further <= 0x10000, "it has too many columns of 8 bits");
            f.n_sweep_columns += static_cast<std::uint32_t>(n_further);
        }
        for (std::uint32_t t = 1; t < record.n_thresholds; ++t)
            require(f.thresholds[record.first_threshold + t - 1] < f.thresholds[record.first_threshold + t],
                    "thresholds are not ascending");
        last_feature = record.feature;
    }
    require(next_column == f.first_category_column, "a numeric column has no feature");
    require(next_threshold == f.thresholds.count, "a threshold has no feature");
    // LightGBM writes an infinite threshold where only NaN goes right; it orders like any other number.
    for (std::size_t i = 0; i < f.thresholds.count; ++i) require(!std::isnan(f.thresholds[i]), "a threshold is not a number");
    for (std::size_t i = 0; i < f.column_rules.count; ++i)
        require(f.column_rules[i] < kColumnRuleCount, "a missing rule is unknown");
}

void check_category_features(const Forest& f) {
    require(f.code_members.count == f.category_codes.count + 1, "codes and their sets do not match");
    std::uint64_t next_column = f.first_category_column;
    std::uint64_t next_code = 0;
    std::int64_t last_feature = -1;
    require(f.set_offsets.count == f.category_defaults.count + 1, "category sets and columns do not match");
    require(f.set_bits.count == kSetBytes * f.category_defaults.count, "category bits and columns do not match");
    require(f.code_members[0] == 0 && f.code_members[f.category_codes.count] == f.members.count, "category sets end early");
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        require(record.feature < f.n_inputs && std::int64_t{record.feature} > last_feature,
                "a category feature is out of order");
        require(record.first_column == next_column, "category columns are out of order");
        require(record.first_code == next_code, "category codes are out of order");
        require(is_within(record.first_code, record.n_codes, f.category_codes.count), "category codes end early");
        next_column += record.n_columns;
        next_code += record.n_codes;
        require(next_column <= f.n_columns, "category columns end early");
        for (std::uint32_t c = record.first_code; c < record.first_code + record.n_codes; ++c) {
            require(f.category_codes[c] >= 0, "a category code is negative");
            require(c == record.first_code || f.category_codes[c - 1] < f.category_codes[c],
                    "category codes are not ascending");
            require(f.code_members[c] <= f.code_members[c + 1], "a category set has a negative size");
            require(f.code_members[c + 1] <= f.members.count, "category sets end early");
            for (std::uint32_t m = f.code_members[c]; m < f.code_members[c + 1]; ++m)
                require(f.members[m] >= record.first_column && f.members[m] < next_column,
                        "a code is in no set of its feature");
        }
        const std::uint64_t words = (std::uint64_t{record.n_codes} + 2) * ((std::uint64_t{record.n_columns} + 15) / 16);
        require(record.n_codes > kDenseCodes || is_within(record.first_word, words, f.code_bits.count),
                "category bits end early");
        for (std::uint64_t c = record.first_column; c < next_column; ++c) {
            const std::size_t index = c - f.first_category_column;
            require(f.set_offsets[index] <= f.set_offsets[index + 1], "a category set has a negative size");
            require(f.set_offsets[index + 1] <= f.set_codes.count, "category sets end early");
            for (std::uint32_t s = f.set_offsets[index]; s < f.set_offsets[index + 1]; ++s)
                require(f.set_codes[s] >= record.first_code && f.set_codes[s] < next_code,
                        "a set holds a code of another feature");
        }
        last_feature = record.feature;
    }
    require(next_column == f.n_columns, "a category column has no feature");
    require(next_code == f.category_codes.count, "a category code has no feature");
    for (std::size_t i = 0; i < f.category_defaults.count; ++i)
        require(f.category_defaults[i] <= 1, "the side of a missing category is unknown");
}

}  // namespace mlrf
