#include "sidecar/enforce/probes.h"

#include <algorithm>
#include <limits>

#include "fmt/format.h"

namespace postern::sidecar {
namespace {

// More than any budget, and far from overflow when added up.
constexpr int64_t kCountless = int64_t{1} << 40;

uint32_t BigEndian(std::string_view bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; ++i) number = (number << 8) | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

// array_send: dimensions, flags, element type, and of each dimension its length and lower bound.
int64_t ElementsInBinary(std::string_view array) {
  if (array.size() < 12) return kCountless;
  const uint32_t dimensions = BigEndian(array, 0);
  if (dimensions > 6 || array.size() < 12 + 8 * size_t{dimensions}) return kCountless;
  int64_t elements = dimensions == 0 ? 0 : 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    elements = std::min(kCountless, elements * std::min<int64_t>(kCountless, BigEndian(array, 12 + 8 * size_t{i})));
    if (elements == kCountless) break;
  }
  return elements;
}

int64_t ElementsIn(int parameter, const std::vector<std::optional<std::string>>& values,
                   const std::vector<int16_t>& formats) {
  const auto index = static_cast<size_t>(parameter - 1);
  if (parameter < 1 || index >= values.size()) return kCountless;
  if (!values[index].has_value()) return 1;
  const std::string& value = *values[index];
  const int16_t format = formats.empty() ? int16_t{0} : formats.size() == 1 ? formats[0] : formats.at(index);
  if (format != 0) return ElementsInBinary(value);
  return 1 + std::count(value.begin(), value.end(), ',');
}

// PREPARE runs nothing yet; the rows of a cursor were paid for when it was opened.
bool RunsNothing(const sql::Statement& statement) {
  return statement.kind == sql::StatementKind::kPrepare || statement.kind == sql::StatementKind::kFetch;
}

}  // namespace

std::optional<Probes> ProbesOf(const Plan& plan, const std::vector<std::optional<std::string>>& values,
                               const std::vector<int16_t>& formats) {
  std::optional<Probes> probes;
  for (size_t i = 0; i < plan.decisions.size(); ++i) {
    const policy::Decision& decision = plan.decisions[i];
    const sql::Statement& statement = plan.analysis->statements[i];
    if (!decision.probes_max.has_value() || RunsNothing(statement)) continue;
    int64_t count = 0;
    for (const sql::ValueTest& test : statement.value_tests) {
      if (std::find(decision.looked_up.begin(), decision.looked_up.end(), test.column) == decision.looked_up.end()) {
        continue;
      }
      count += std::min(kCountless, test.values);
      for (const int parameter : test.array_parameters) count += ElementsIn(parameter, values, formats);
      count = std::min(count, kCountless);
    }
    if (!probes.has_value()) probes = Probes{0, std::numeric_limits<int64_t>::max()};
    probes->count = std::min(kCountless, probes->count + std::max<int64_t>(1, count));
    probes->most = std::min(probes->most, *decision.probes_max);
  }
  return probes;
}

std::shared_ptr<const Plan> RefusedForProbes(const Plan& plan, const Probes& probes) {
  auto refused = std::make_shared<Plan>(plan);
  refused->verdict = policy::Verdict::kDeny;
  refused->read_literals.reset();
  refused->refusal = {
      "53400", "postern: this grant has used up its tests of masked columns",
      fmt::format(
          "policy lets a grant make {} tests of masked columns (`probes_max`); this statement makes {}, which is more "
          "than are left",
          probes.most, probes.count >= kCountless ? std::string("many") : std::to_string(probes.count)),
      "Each value that a masked column is compared with counts. Request a new token, or ask the policy's owner for a "
      "larger `probes_max`.",
      0};
  for (size_t i = 0; i < refused->decisions.size(); ++i) {
    policy::Decision& decision = refused->decisions[i];
    if (!decision.probes_max.has_value()) continue;
    decision.verdict = policy::Verdict::kDeny;
    decision.reason_code = policy::kReasonProbesSpent;
    decision.reason = refused->refusal->detail;
    refused->decisive = i;
  }
  return refused;
}

bool ProbeBudget::Has(std::string_view grant_id, const Probes& probes) const {
  absl::ReaderMutexLock lock(&mu_);
  const auto it = spent_.find(grant_id);
  return (it == spent_.end() ? 0 : it->second.count) + probes.count <= probes.most;
}

bool ProbeBudget::Spend(std::string_view grant_id, absl::Time expires, absl::Time now, const Probes& probes) {
  absl::MutexLock lock(&mu_);
  auto it = spent_.find(grant_id);
  if ((it == spent_.end() ? 0 : it->second.count) + probes.count > probes.most) return false;
  if (it == spent_.end()) {
    if (spent_.size() >= sweep_at_) Forget(now);
    it = spent_.emplace(std::string(grant_id), Spent{0, expires}).first;
  }
  it->second.count += probes.count;
  return true;
}

void ProbeBudget::Forget(absl::Time now) {
  std::erase_if(spent_, [now](const auto& entry) { return entry.second.expires < now; });
  sweep_at_ = std::max<size_t>(1024, 2 * spent_.size());
}

}  // namespace postern::sidecar
