#include "cuts.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mlrf {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

float below(float x) { return std::nextafter(x, -std::numeric_limits<float>::infinity()); }

// The greatest float32 at or below a number, and the greatest one below it.
float floor32(double x) {
    const float nearest = static_cast<float>(x);
    return static_cast<double>(nearest) > x ? below(nearest) : nearest;
}
float below32(double x) {
    const float floor = floor32(x);
    return static_cast<double>(floor) == x ? below(floor) : floor;
}

// The greatest float64 that rounds to a float32 of at most `threshold`.
double last_rounding_to(float threshold) {
    if (std::isinf(threshold)) return static_cast<double>(threshold);
    const float above = std::nextafter(threshold, std::numeric_limits<float>::infinity());
    // What lies beyond the last float32 rounds to infinity as if 2^128 were the next.
    const double next = std::isinf(above) ? 0x1p128 : static_cast<double>(above);
    // Exact: the point halfway between neighbours in float32 is a float64.
    const double halfway = (static_cast<double>(threshold) + next) / 2;
    return static_cast<float>(halfway) <= threshold ? halfway : std::nextafter(halfway, -kInfinity);
}

class CutPoints {
public:
    explicit CutPoints(bool inputs_in_float32) : inputs_in_float32_(inputs_in_float32) {}

        // Inputs up to `threshold`, as the trees see them, go left.
    void add(double threshold) { cuts_.push_back(inputs_in_float32_ ? last_rounding_to(floor32(threshold)) : threshold); }

        // Inputs below `threshold`, as the trees see them, go left.
    void add_below(double threshold) {
        cuts_.push_back(inputs_in_float32_ ? last_rounding_to(below32(threshold)) : std::nextafter(threshold, -kInfinity));
    }

        // The value is compared as a float32, even if the trees see it as float64.
    void add_float32(double threshold) { cuts_.push_back(last_rounding_to(floor32(threshold))); }

    std::vector<double> take() {
        std::vector<double> finite;
                // Cuts that no number can cross are left out.
        for (const double cut : cuts_)
            if (cut > -kInfinity && cut < std::numeric_limits<double>::max()) finite.push_back(cut + 0.0);
        std::sort(finite.begin(), finite.end());
        finite.erase(std::unique(finite.begin(), finite.end()), finite.end());
        return finite;
    }

private:
    bool inputs_in_float32_;
    std::vector<double> cuts_;
};

void add_numeric(const Forest& f, const NumericFeature& record, CutPoints& cuts) {
    for (std::uint32_t t = 0; t < record.n_thresholds; ++t) cuts.add(f.thresholds[record.first_threshold + t]);
    for (std::uint32_t c = 0; c < record.n_columns; ++c) {
        const std::uint8_t rule = f.column_rules[record.first_column - 1 + c];
        if (rule != kZeroLeft && rule != kZeroRight) continue;
        cuts.add_below(-kZeroBand);
        cuts.add(kZeroBand);
    }
}

void add_categories(const Forest& f, const CategoryFeature& record, CutPoints& cuts) {
    cuts.add(f.no_code_up_to);
    for (std::uint32_t c = 0; c < record.n_codes; ++c) {
        const double code = f.category_codes[record.first_code + c];
        if (code > 0.0) cuts.add_below(code);
        cuts.add_below(code + 1.0);
    }
}

}  // namespace

std::vector<double> cut_points(const Forest& f, std::uint32_t feature) {
    CutPoints cuts(f.inputs_in_float32);
    for (std::size_t i = 0; i < f.numeric_features.count; ++i)
        if (f.numeric_features[i].feature == feature) add_numeric(f, f.numeric_features[i], cuts);
    for (std::size_t i = 0; i < f.category_features.count; ++i)
        if (f.category_features[i].feature == feature) add_categories(f, f.category_features[i], cuts);
    for (std::size_t i = 0; i < f.key_parts.count; ++i) {
        const KeyPart& part = f.key_parts[i];
        if (part.kind == kAbove && part.source == feature) cuts.add_float32(part.border);
    }
    return cuts.take();
}

}  // namespace mlrf
