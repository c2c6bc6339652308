// Metrics in Prometheus's text format: a registry, and a small HTTP endpoint that serves it at /metrics.
//
// Metrics are made once, at start, and then only touched: Increment and Set cost an atomic operation. Labels name kinds
// of things (a method, a reason), never people, statements or ids, so that their number stays small.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace postern::obs {

using Labels = std::map<std::string, std::string>;

// Owned by the registry; lives as long as it does. Thread-safe.
class Counter {
 public:
  virtual ~Counter() = default;
  // `by` is not negative.
  virtual void Increment(double by = 1) = 0;
};

class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void Set(double value) = 0;
  virtual void Add(double by) = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void Observe(double value) = 0;
};

// Thread-safe. The same name and labels give the same metric again; a name belongs to one kind.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `name` is snake_case with its unit, e.g. "postern_sessions_total", "postern_hold_seconds"; `help` is one sentence.
  // A malformed name ends the process: it is a mistake in the program.
  Counter& NewCounter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& NewGauge(std::string_view name, std::string_view help, const Labels& labels = {});
  // `bounds` are the upper limits of the buckets, ascending.
  Histogram& NewHistogram(std::string_view name, std::string_view help, const std::vector<double>& bounds,
                          const Labels& labels = {});

  // The text that the endpoint serves.
  std::string Text() const;

 private:
  friend class MetricsEndpoint;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Serves /metrics until it is destroyed. Plain HTTP without authentication: bind it to loopback.
class MetricsEndpoint {
 public:
  // `address` is "127.0.0.1:9464"; port 0 takes a free one. `metrics` outlives the endpoint.
  // UNAVAILABLE/METRICS_ADDRESS if it cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(const std::string& address, const Metrics& metrics);
  ~MetricsEndpoint();

  int port() const;

 private:
  struct Impl;
  explicit MetricsEndpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::obs
