#include "common/obs/metrics.h"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "absl/synchronization/mutex.h"
#include "common/base/errors.h"

namespace postern::obs {
namespace {

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter) : counter_(counter) {}
  void Increment(double by) override { counter_.Increment(by); }

 private:
  prometheus::Counter& counter_;
};

class PrometheusGauge final : public Gauge {
 public:
  explicit PrometheusGauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void Set(double value) override { gauge_.Set(value); }
  void Add(double by) override { gauge_.Increment(by); }

 private:
  prometheus::Gauge& gauge_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void Observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

using Key = std::pair<std::string, Labels>;

}  // namespace

struct Metrics::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  absl::Mutex mu;
  std::map<Key, std::unique_ptr<Counter>> counters ABSL_GUARDED_BY(mu);
  std::map<Key, std::unique_ptr<Gauge>> gauges ABSL_GUARDED_BY(mu);
  std::map<Key, std::unique_ptr<Histogram>> histograms ABSL_GUARDED_BY(mu);

  // The metric of `all` under this name and these labels, made by `make` the first time.
  template <typename Metric, typename Make>
  Metric& Get(std::map<Key, std::unique_ptr<Metric>>& all, std::string_view name, const Labels& labels,
              const Make& make) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    std::unique_ptr<Metric>& slot = all[{std::string(name), labels}];
    if (slot != nullptr) return *slot;
    try {
      slot = make();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "metric %.*s: %s\n", static_cast<int>(name.size()), name.data(), e.what());
      std::abort();
    }
    return *slot;
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Counter& Metrics::NewCounter(std::string_view name, std::string_view help, const Labels& labels) {
  absl::MutexLock lock(&impl_->mu);
  return impl_->Get(impl_->counters, name, labels, [&]() -> std::unique_ptr<Counter> {
    auto& family =
        prometheus::BuildCounter().Name(std::string(name)).Help(std::string(help)).Register(*impl_->registry);
    return std::make_unique<PrometheusCounter>(family.Add(labels));
  });
}

Gauge& Metrics::NewGauge(std::string_view name, std::string_view help, const Labels& labels) {
  absl::MutexLock lock(&impl_->mu);
  return impl_->Get(impl_->gauges, name, labels, [&]() -> std::unique_ptr<Gauge> {
    auto& family = prometheus::BuildGauge().Name(std::string(name)).Help(std::string(help)).Register(*impl_->registry);
    return std::make_unique<PrometheusGauge>(family.Add(labels));
  });
}

Histogram& Metrics::NewHistogram(std::string_view name, std::string_view help, const std::vector<double>& bounds,
                                 const Labels& labels) {
  absl::MutexLock lock(&impl_->mu);
  return impl_->Get(impl_->histograms, name, labels, [&]() -> std::unique_ptr<Histogram> {
    auto& family =
        prometheus::BuildHistogram().Name(std::string(name)).Help(std::string(help)).Register(*impl_->registry);
    return std::make_unique<PrometheusHistogram>(family.Add(labels, bounds));
  });
}

std::string Metrics::Text() const { return prometheus::TextSerializer().Serialize(impl_->registry->Collect()); }

struct MetricsEndpoint::Impl {
  std::unique_ptr<prometheus::Exposer> exposer;
};

MetricsEndpoint::MetricsEndpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsEndpoint::~MetricsEndpoint() = default;

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(const std::string& address,
                                                                        const Metrics& metrics) {
  auto impl = std::make_unique<Impl>();
  try {
    // One thread serves: a scrape is rare and short.
    impl->exposer = std::make_unique<prometheus::Exposer>(address, /*num_threads=*/1);
    impl->exposer->RegisterCollectable(metrics.impl_->registry);
  } catch (const std::exception& e) {
    return Error(absl::StatusCode::kUnavailable, "METRICS_ADDRESS",
                 fmt::format("cannot serve metrics on {}: {}", address, e.what()), "Choose another address and port.");
  }
  return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(std::move(impl)));
}

int MetricsEndpoint::port() const { return impl_->exposer->GetListeningPorts().front(); }

}  // namespace postern::obs
