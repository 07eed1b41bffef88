// The Python class that writes explanations as JSON (explanation_json.hpp).
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "buffers.hpp"
#include "explanation_json.hpp"

namespace mlrf {

class PythonExplanationJson {
public:
    PythonExplanationJson(const nb::sequence& players, const nb::sequence& outputs, const std::string& members)
        : json_(texts_of(players), texts_of(outputs), members) {}

    // One document for each row of margins [n, K]; the base is [K], that of all rows.
    nb::list write(nb::handle margins, nb::handle base, nb::handle contributions, std::optional<std::size_t> top,
                   const std::string& source) const {
        const Doubles of_margins(margins), of_base(base), of_contributions(contributions);
        const std::size_t k = json_.n_outputs(), width = json_.n_players() * k, n_rows = of_margins.count() / k;
        if (of_base.count() != k || of_margins.count() != n_rows * k || of_contributions.count() != n_rows * width)
            throw nb::value_error("margins, base and contributions must be [n, K], [K] and [n, F, K]");
        std::string written;
        std::vector<std::size_t> ends;
        const auto write_all = [&] {
            for (std::size_t row = 0; row < n_rows; ++row) {
                json_.write(of_margins.data() + row * k, of_base.data(), of_contributions.data() + row * width, top, source, written);
                ends.push_back(written.size());
            }
        };
        if (n_rows > 1) {
            const nb::gil_scoped_release released;
            write_all();
        } else {
            // Other threads do not wait as long as giving the GIL back would take.
            write_all();
        }
        nb::list documents;
        std::size_t begin = 0;
        for (const std::size_t end : ends) {
            documents.append(nb::bytes(written.data() + begin, end - begin));
            begin = end;
        }
        return documents;
    }

private:
    // The float64 numbers of a contiguous buffer.
    class Doubles {
    public:
        explicit Doubles(nb::handle object)
            : buffer_(object.ptr(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS), numbers_(read_numbers(object.ptr(), buffer_.view(), aligned_)) {
            if (numbers_.is_float32) throw nb::type_error("explanations are float64");
        }
        const double* data() const { return static_cast<const double*>(numbers_.values); }
        std::size_t count() const { return numbers_.count; }

    private:
        Buffer buffer_;
        std::vector<unsigned char> aligned_;
        Numbers numbers_;
    };

    static std::vector<std::string> texts_of(const nb::sequence& names) {
        std::vector<std::string> texts;
        for (const nb::handle each : names) texts.push_back(nb::cast<std::string>(each));
        return texts;
    }

    ExplanationJson json_;
};

}  // namespace mlrf
