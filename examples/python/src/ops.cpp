// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// idiolect's losses and scores as torch operators on CPU tensors, on the stable ABI alone: reading
// tensors and options, calling the library, writing tensors. What is friendly is Python's.

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <idiolect/backend/cpu/cpu.hpp>
#include <idiolect/cll/score.hpp>
#include <idiolect/loss/loss.hpp>

#include "executor.hpp"
#include "gates.hpp"

namespace {

using idiolect::index_t;
using idiolect::require;
using idiolect::token_id;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

/// A new tensor on `like`'s device.
Tensor empty(const Tensor& like, std::initializer_list<std::int64_t> sizes, ScalarType dtype) {
  return torch::stable::new_empty(like, {sizes.begin(), sizes.size()}, dtype);
}

/// Appends a vector's elements, wherever they lie.
template <class Stored, class T>
void append(const Tensor& tensor, std::vector<T>& out) {
  const auto* p = static_cast<const Stored*>(tensor.data_ptr());
  const index_t n = tensor.size(0), step = tensor.stride(0);
  out.reserve(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) out.push_back(static_cast<T>(p[i * step]));
}

/// The numbers of a vector of a floating-point or integer type. O(n).
template <class T>
std::vector<T> numbers(const std::optional<Tensor>& tensor, const char* name) {
  std::vector<T> out;
  if (!tensor) return out;
  require(tensor->dim() == 1, name,
          [&] { return "one dimension expected; found " + std::to_string(tensor->dim()); });
  require(tensor->is_cpu(), name, "a CPU tensor expected");
  const ScalarType dtype = tensor->scalar_type();
  if constexpr (std::is_floating_point_v<T>) {
    if (dtype == ScalarType::Double) return append<double>(*tensor, out), out;
    if (dtype == ScalarType::Float) return append<float>(*tensor, out), out;
  } else {
    if (dtype == ScalarType::Long) return append<std::int64_t>(*tensor, out), out;
    if (dtype == ScalarType::Int) return append<std::int32_t>(*tensor, out), out;
  }
  idiolect::raise(idiolect::shape_error(
      name, std::string(std::is_floating_point_v<T> ? "float32 or float64" : "int32 or int64") +
                " expected; found " + torch::headeronly::toString(dtype)));
}

/// The rows as they lie, if a view can have them, or a copy whose rows are one after another.
Tensor as_rows(const Tensor& logits) {
  require(logits.dim() == 2, "logits", [&] {
    return "two dimensions expected, rows x vocabulary; found " + std::to_string(logits.dim());
  });
  const index_t rows = logits.size(0), cols = logits.size(1);
  const bool adjacent = cols <= 1 || logits.stride(1) == 1;
  if (adjacent && (rows <= 1 || logits.stride(0) >= cols)) return logits;
  Tensor copy = empty(logits, {rows, cols}, logits.scalar_type());
  return torch::stable::copy_(copy, logits);
}

/// Rows that as_rows gave.
template <class T>
idiolect::matrix_view<T> rows_of(const Tensor& t) {
  const index_t rows = t.size(0), cols = t.size(1);
  return {static_cast<T*>(t.data_ptr()), rows, cols, rows > 1 ? t.stride(0) : cols};
}

/// f(scalar) with a value of the library's type for the logits' dtype.
template <class F>
auto with_scalar(const Tensor& logits, F&& f) {
  require(logits.is_cpu(), "logits", "a CPU tensor expected");
  switch (logits.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::Half:
      return f(idiolect::half{});
    case ScalarType::BFloat16:
      return f(idiolect::bfloat16{});
    default:
      break;
  }
  idiolect::raise(idiolect::shape_error(
      "logits", std::string("float32, float64, float16 or bfloat16 expected; found ") +
                    torch::headeronly::toString(logits.scalar_type())));
}

token_id token_of(std::int64_t id, const char* name) {
  require(id == static_cast<token_id>(id), name,
          [&] { return std::to_string(id) + " is no 32-bit token"; });
  return static_cast<token_id>(id);
}

/// torch's float64 for float64 logits, else float32: what losses and scores are returned in.
ScalarType result_type(const Tensor& logits) {
  return logits.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

void write(const Tensor& out, std::size_t i, double x) {
  if (out.scalar_type() == ScalarType::Double) {
    static_cast<double*>(out.data_ptr())[i] = x;
  } else {
    static_cast<float*>(out.data_ptr())[i] = static_cast<float>(x);
  }
}

idiolect::cpu<idiolect_torch::torch_executor> backend(std::int64_t threads) {
  require(threads >= 0, "threads", "must be >= 0; 0 means torch's");
  return {{threads > 0 ? static_cast<int>(threads) : idiolect_torch::torch_threads()}};
}

/// The report as numbers, in the order that ops.py reads them.
Tensor as_tensor(const idiolect::loss_report& report, const Tensor& like) {
  std::vector<double> numbers = {report.loss, report.mean_nll, static_cast<double>(report.valid),
                                 static_cast<double>(report.non_finite)};
  for (const idiolect::moment_summary& s : std::initializer_list<idiolect::moment_summary>{
           report.phi, report.weight, report.end_prob}) {
    numbers.insert(numbers.end(), {static_cast<double>(s.count), static_cast<double>(s.nan_count),
                                   s.mean, s.variance(), s.min, s.max});
  }
  for (const auto* bins : {&report.phi.bins, &report.weight.bins}) {
    numbers.insert(numbers.end(), {bins->low, bins->high, static_cast<double>(bins->below),
                                   static_cast<double>(bins->above)});
    for (const auto count : bins->counts) numbers.push_back(static_cast<double>(count));
  }
  Tensor out = empty(like, {static_cast<std::int64_t>(numbers.size())}, ScalarType::Double);
  std::memcpy(out.data_ptr(), numbers.data(), numbers.size() * sizeof(double));
  return out;
}

/// Where a call's gradient goes.
enum class gradient { none, apart, in_logits };

/// Loss and report, and the gradient where it is apart.
template <gradient Where>
using loss_results =
    std::conditional_t<Where == gradient::apart, std::tuple<Tensor, Tensor, Tensor>,
                       std::tuple<Tensor, Tensor>>;

template <gradient Where>
loss_results<Where> loss(Tensor logits, Tensor targets, std::optional<Tensor> weights,
                         std::optional<Tensor> sequence_offsets, std::int64_t gate,
                         Tensor parameters, bool through_weight,
                         std::optional<Tensor> protected_tokens, double protected_weight,
                         std::optional<Tensor> end_tokens, std::int64_t reduction, double tokens,
                         std::int64_t ignore_index, double temperature, std::int64_t non_finite,
                         std::int64_t threads) {
  const auto y = numbers<std::int64_t>(targets, "targets");
  const auto row_weights = numbers<float>(weights, "weights");
  const auto offsets = numbers<index_t>(sequence_offsets, "sequence_offsets");
  const auto ends = numbers<token_id>(end_tokens, "end_tokens");

  idiolect::loss_options options;
  require(reduction >= 0 && reduction <= static_cast<int>(idiolect::reduction::kind::none),
          "reduction", "unknown");
  require(non_finite >= 0 && non_finite <= static_cast<int>(idiolect::non_finite::error),
          "non_finite", "unknown");
  options.reduce = {static_cast<idiolect::reduction::kind>(reduction), tokens};
  options.ignore_index = token_of(ignore_index, "ignore_index");
  options.temperature = temperature;
  options.on_non_finite = static_cast<idiolect::non_finite>(non_finite);
  require(!weights || row_weights.size() == y.size(), "weights", [&] {
    return std::to_string(row_weights.size()) + " weights for " + std::to_string(y.size()) +
           " rows";
  });
  options.weights = row_weights;
  options.sequence_offsets = offsets;
  options.end_tokens = ends;
  const auto policy = backend(threads);

  const Tensor z = as_rows(logits);
  if constexpr (Where == gradient::in_logits) {
    require(
        z.data_ptr() == logits.data_ptr(), "logits",
        "their memory cannot take the gradient: the elements of a row are not adjacent, or rows "
        "overlap");
  }
  Tensor slopes = z;  // a copy may be overwritten
  if (Where == gradient::apart && z.data_ptr() == logits.data_ptr()) {
    slopes = empty(logits, {logits.size(0), logits.size(1)}, logits.scalar_type());
  }
  const idiolect::loss_report report = with_scalar(z, [&](auto scalar) {
    using T = decltype(scalar);
    idiolect_torch::protection fixed{numbers<token_id>(protected_tokens, "protect"),
                                     protected_weight};
    return idiolect_torch::with_loss(
        gate, numbers<double>(parameters, "parameters"), through_weight, std::move(fixed),
        [&](const auto& token_loss) {
          if constexpr (Where == gradient::none) {
            return idiolect::loss(policy, rows_of<const T>(z), y, token_loss, options);
          } else {
            return idiolect::loss_and_gradient(policy, rows_of<T>(z), y, token_loss,
                                               rows_of<T>(slopes), options);
          }
        });
  });

  Tensor value = options.reduce.how == idiolect::reduction::kind::none
                     ? empty(logits, {logits.size(0)}, result_type(logits))
                     : empty(logits, {}, result_type(logits));
  if (options.reduce.how == idiolect::reduction::kind::none) {
    for (std::size_t i = 0; i < report.token_loss.size(); ++i)
      write(value, i, report.token_loss[i]);
  } else {
    write(value, 0, report.loss);
  }
  if constexpr (Where == gradient::apart) {
    return {value, as_tensor(report, logits), slopes};
  } else {
    return {value, as_tensor(report, logits)};
  }
}

std::tuple<Tensor, Tensor, Tensor, Tensor> score(Tensor logits, Tensor targets,
                                                 std::int64_t ignore_index, double temperature,
                                                 std::int64_t threads) {
  idiolect::score_options options;
  options.ignore_index = token_of(ignore_index, "ignore_index");
  options.temperature = temperature;
  const auto y = numbers<std::int64_t>(targets, "targets");
  const auto policy = backend(threads);
  const Tensor z = as_rows(logits);
  const auto scores = with_scalar(z, [&](auto scalar) {
    return idiolect::score(policy, rows_of<const decltype(scalar)>(z), y, options);
  });
  const auto column = [&](double idiolect::token_score::*member) {
    Tensor out = empty(logits, {logits.size(0)}, result_type(logits));
    for (std::size_t i = 0; i < scores.size(); ++i) write(out, i, scores[i].*member);
    return out;
  };
  using s = idiolect::token_score;
  return {column(&s::log_prob), column(&s::entropy), column(&s::varentropy), column(&s::phi)};
}

}  // namespace

STABLE_TORCH_LIBRARY(idiolect, library) {
  const std::string options =
      "Tensor targets, Tensor? weights, Tensor? sequence_offsets, int gate, Tensor parameters, "
      "bool through_weight, Tensor? protected_tokens, float protected_weight, Tensor? end_tokens, "
      "int reduction, float tokens, int ignore_index, float temperature, int non_finite, int "
      "threads)";
  library.def(("loss(Tensor logits, " + options + " -> (Tensor, Tensor, Tensor)").c_str());
  library.def(("loss_value(Tensor logits, " + options + " -> (Tensor, Tensor)").c_str());
  library.def(("loss_(Tensor(a!) logits, " + options + " -> (Tensor, Tensor)").c_str());
  library.def(
      "score(Tensor logits, Tensor targets, int ignore_index, float temperature, int threads) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(idiolect, CPU, library) {
  library.impl("loss", TORCH_BOX(&loss<gradient::apart>));
  library.impl("loss_value", TORCH_BOX(&loss<gradient::none>));
  library.impl("loss_", TORCH_BOX(&loss<gradient::in_logits>));
  library.impl("score", TORCH_BOX(&score));
}
