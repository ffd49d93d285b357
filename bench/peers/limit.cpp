// The physical limit for evaluate and the two sums of the ReLU fit: what the machine gives to code that is written
// for one dtype and one dimension, with explicit vectors, register blocks and OpenMP. For benchmarks only.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int BLOCK = 4;  // vectors of points that stay in registers

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4)));

inline vec splat(float a) { return a - vec{}; }

// 2^t for t <= 0: t = r + f, |f| <= 1/2; adding 1.5 2^23 + 127 leaves r's biased exponent in the low bits.
inline vec exp2(vec t) {
  const float magic = 12582912.0f + 127.0f;
  t = t > -126.0f ? t : splat(-126.0f);
  const vec shifted = t + magic;
  const vec f = t - (shifted - magic);
  vec p = splat(1.327647263e-3f);  // minimax of degree 5 on [-1/2, 1/2], relative error 7.5e-8
  p = p * f + 9.675541343e-3f;
  p = p * f + 5.550713272e-2f;
  p = p * f + 0.2402211972f;
  p = p * f + 0.6931469671f;
  p = p * f + 1.000000072f;
  return p * (vec)((ivec)shifted << 23);
}

// One row per component: mean (K), scaled inverse Cholesky factor (K (K + 1) / 2, by rows), S amplitudes.
template <int K, int S>
void values_of_block(const float* rows, int n, const float* x, int stride, float* out, int out_stride) {
  constexpr int T = K * (K + 1) / 2, WIDTH = K + T + S;
  vec points[BLOCK][K], sums[BLOCK][S];
  for (int u = 0; u < BLOCK; ++u) {
    for (int k = 0; k < K; ++k) points[u][k] = *(const vec*)(x + k * stride + u * LANES);
    for (int s = 0; s < S; ++s) sums[u][s] = vec{};
  }
  for (int j = 0; j < n; ++j, rows += WIDTH) {
#pragma GCC unroll 8
    for (int u = 0; u < BLOCK; ++u) {
      vec d[K], t = vec{};
      for (int k = 0; k < K; ++k) d[k] = points[u][k] - rows[k];
      for (int k = 0, q = K; k < K; ++k) {
        vec y = rows[q++] * d[0];
        for (int m = 1; m <= k; ++m) y += rows[q++] * d[m];
        t -= y * y;
      }
      const vec e = exp2(t);
      for (int s = 0; s < S; ++s) sums[u][s] += rows[K + T + s] * e;
    }
  }
  for (int u = 0; u < BLOCK; ++u)
    for (int s = 0; s < S; ++s) *(vec*)(out + s * out_stride + u * LANES) = sums[u][s];
}

// Write mean, sqrt(log2(e) / 2) L^-1 and weight / sqrt((2 pi)^K det C).
template <int K, int S>
void prepare(const float* w, const float* w2, const float* mu, const float* cov, int n, float* rows) {
  const double root = std::sqrt(0.5 * 1.4426950408889634), norm = 1.0 / std::sqrt(2.0 * 3.141592653589793);
  for (int j = 0; j < n; ++j) {
    double l[K][K] = {}, inv[K][K] = {}, peak = 1.0;
    for (int k = 0; k < K; ++k)
      for (int m = 0; m <= k; ++m) {
        double v = cov[(j * K + k) * K + m];
        for (int i = 0; i < m; ++i) v -= l[k][i] * l[m][i];
        l[k][m] = k == m ? std::sqrt(v) : v / l[m][m];
      }
    for (int k = 0; k < K; ++k) {
      inv[k][k] = 1.0 / l[k][k];
      peak *= norm * inv[k][k];
      for (int m = 0; m < k; ++m) {
        double v = 0.0;
        for (int i = m; i < k; ++i) v -= l[k][i] * inv[i][m];
        inv[k][m] = v * inv[k][k];
      }
    }
    for (int k = 0; k < K; ++k) *rows++ = mu[j * K + k];
    for (int k = 0; k < K; ++k)
      for (int m = 0; m <= k; ++m) *rows++ = float(root * inv[k][m]);
    *rows++ = float(w[j] * peak);
    if (S == 2) *rows++ = float(w2[j] * peak);
  }
}

// values (S, M, P) of mixtures (M, N) with S sets of weights at points (M, P, K).
template <int K, int S>
void evaluate(const float* w, const float* w2, const float* mu, const float* cov, const float* x, float* out, int M,
              int N, int P) {
  constexpr int WIDTH = K + K * (K + 1) / 2 + S, STEP = BLOCK * LANES;
  const int blocks = (P + STEP - 1) / STEP, parts = M >= 16 ? 1 : 8;
#pragma omp parallel
  {
    std::vector<float> rows(size_t(N) * WIDTH), lanes(K * STEP), sums(S * STEP);
#pragma omp for schedule(dynamic)
    for (int task = 0; task < M * parts; ++task) {
      const size_t m = task / parts;
      const int part = task % parts;
      prepare<K, S>(w + m * N, S == 2 ? w2 + m * N : nullptr, mu + m * N * K, cov + m * N * K * K, N, rows.data());
      for (int b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
        const int first = b * STEP, count = P - first < STEP ? P - first : STEP;
        for (int i = 0; i < STEP; ++i)
          for (int k = 0; k < K; ++k) lanes[k * STEP + i] = x[(m * P + first + (i < count ? i : 0)) * K + k];
        values_of_block<K, S>(rows.data(), N, lanes.data(), STEP, sums.data(), STEP);
        for (int s = 0; s < S; ++s)
          std::memcpy(out + (size_t(s) * M + m) * P + first, sums.data() + s * STEP, sizeof(float) * count);
      }
    }
  }
}

}  // namespace

extern "C" {
void evaluate_2(const float* w, const float* mu, const float* cov, const float* x, float* out, int M, int N, int P) {
  evaluate<2, 1>(w, nullptr, mu, cov, x, out, M, N, P);
}
void evaluate_3(const float* w, const float* mu, const float* cov, const float* x, float* out, int M, int N, int P) {
  evaluate<3, 1>(w, nullptr, mu, cov, x, out, M, N, P);
}
void two_sums_2(const float* w, const float* w2, const float* mu, const float* cov, float* out, int M, int N) {
  evaluate<2, 2>(w, w2, mu, cov, mu, out, M, N, N);
}
void two_sums_3(const float* w, const float* w2, const float* mu, const float* cov, float* out, int M, int N) {
  evaluate<3, 2>(w, w2, mu, cov, mu, out, M, N, N);
}
}
