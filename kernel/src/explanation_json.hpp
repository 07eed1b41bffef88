// Writes explanations as JSON, as `ExplanationWriter` describes: no Python object is made for a number, so that a batch of them is
// written while other threads run.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mlrf {

class ExplanationJson {
public:
    // Names of players and of outputs are JSON strings, with their quotes; a single output has no name. `members` follow the others,
    // each with a comma before it.
    ExplanationJson(std::vector<std::string> players, std::vector<std::string> outputs, std::string members)
        : players_(std::move(players)), outputs_(std::move(outputs)), members_(std::move(members)) {}

    std::size_t n_players() const { return players_.size(); }
    std::size_t n_outputs() const { return outputs_.empty() ? 1 : outputs_.size(); }

    // Append the explanation of a row: its margins [K], their base [K] and contributions [F, K]. It names the `top` largest
    // contributions to the output of the largest margin, in descending order; all, in their own order, without `top`.
    void write(const double* margins, const double* base, const double* contributions, std::optional<std::size_t> top,
               const std::string& source, std::string& json) const;

private:
    std::vector<std::size_t> chosen(const double* contributions, std::size_t output, std::optional<std::size_t> top) const;
    void write_outputs(const double* values, std::string& json) const;

    std::vector<std::string> players_, outputs_;
    std::string members_;
};

// Append a number in the fewest digits that read as the same float64; null for one that is not finite.
void write_json_number(double number, std::string& json);

}  // namespace mlrf
