// What content detectors cost for each byte of text that they search: prose in
// which nothing is found, text full of numbers, and text full of hits.
#include <string>

#include "benchmark/benchmark.h"
#include "sidecar/mask/detect.h"

namespace postern::mask {
namespace {

constexpr size_t kBytes = size_t{1} << 20;

std::string Repeated(std::string_view unit) {
  std::string text;
  while (text.size() < kBytes) text += unit;
  return text;
}

DetectorSet AllDetectors() {
  DetectorSet all;
  for (int i = 0; i < policy::kDetectorCount; ++i) all.Add(static_cast<Detector>(i));
  return all;
}

void Search(benchmark::State& state, std::string_view unit) {
  const std::string text = Repeated(unit);
  std::string out;
  for (auto _ : state) {
    out.clear();
    DetectorCounts counts{};
    benchmark::DoNotOptimize(ReplaceDetected(text, AllDetectors(), false, &out, &counts));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["ns/byte"] = benchmark::Counter(static_cast<double>(state.iterations() * text.size()) / 1e9,
                                                 benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

BENCHMARK_CAPTURE(Search, prose,
                  "The customer called on Monday about order 4711 and asked "
                  "when it would be sent; we promised Friday. ");
BENCHMARK_CAPTURE(Search, numbers,
                  "2026-11-24 10:45:12.123 4711 192.168.10.20 "
                  "3f2504e0-4f89-41d3-9a0c-0305e82c3301 17 ");
BENCHMARK_CAPTURE(Search, hits,
                  "ann@example.com 4111 1111 1111 1111 DE89370400440532013000 "
                  "+49 30 1234567 536-90-4399 ");

}  // namespace
}  // namespace postern::mask
