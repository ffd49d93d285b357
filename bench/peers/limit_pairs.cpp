// The physical limit for inner products, in double precision as they are defined, and for writing a convolution's
// output: what `limit.cpp` is for evaluate and the ReLU fit.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int BLOCK = 4;  // vectors of the left side's components that stay in registers

typedef double vec __attribute__((vector_size(8 * LANES), aligned(8)));
typedef int64_t ivec __attribute__((vector_size(8 * LANES), aligned(8)));

inline vec splat(double a) { return a - vec{}; }

inline vec root(vec a) {
  for (int i = 0; i < LANES; ++i) a[i] = std::sqrt(a[i]);
  return a;
}

// 2^t for t <= 0: t = r + f, |f| <= 1/2; adding 1.5 2^52 + 1023 leaves r's biased exponent in the low bits.
inline vec exp2(vec t) {
  const double magic = 6755399441055744.0 + 1023.0;
  t = t > -1022.0 ? t : splat(-1022.0);
  const vec shifted = t + magic;
  const vec f = t - (shifted - magic);
  vec p = splat(7.0549116208011210e-9);  // the Taylor polynomial of degree 10: relative error 2e-13
  p = p * f + 1.0178086009239696e-7;
  p = p * f + 1.3215486790144307e-6;
  p = p * f + 1.5252733804059841e-5;
  p = p * f + 1.5403530393381608e-4;
  p = p * f + 1.3333558146428443e-3;
  p = p * f + 9.6181291076284772e-3;
  p = p * f + 5.5504108664821580e-2;
  p = p * f + 2.4022650695910071e-1;
  p = p * f + 6.9314718055994531e-1;
  p = p * f + 1.0;
  return p * (vec)((ivec)shifted << 52);
}

// exp(-d^T S^-1 d / 2) / sqrt(det S) of a sum S of covariances (packed by rows), by its adjugate.
inline vec gaussian(const vec (&d)[2], const vec (&s)[3]) {
  const vec r = 1.0 / root(s[0] * s[2] - s[1] * s[1]);
  const vec q = s[2] * d[0] * d[0] - 2.0 * s[1] * d[0] * d[1] + s[0] * d[1] * d[1];
  return r * exp2(-0.72134752044448170 * q * r * r);
}

inline vec gaussian(const vec (&d)[3], const vec (&s)[6]) {
  const vec a = s[2] * s[5] - s[4] * s[4], b = s[3] * s[4] - s[1] * s[5], c = s[1] * s[4] - s[3] * s[2];
  const vec e = s[0] * s[5] - s[3] * s[3], f = s[1] * s[3] - s[0] * s[4], g = s[0] * s[2] - s[1] * s[1];
  const vec r = 1.0 / root(s[0] * a + s[1] * b + s[3] * c);
  const vec q = d[0] * (a * d[0] + 2.0 * (b * d[1] + c * d[2])) + d[1] * (e * d[1] + 2.0 * f * d[2]) + g * d[2] * d[2];
  return r * exp2(-0.72134752044448170 * q * r * r);
}

// The form of one block of lanes (mean, packed covariance, weight; `stride` apart) with all rows of the other side.
template <int K>
double form_of_block(const double* lanes, int stride, const double* rows, int n) {
  constexpr int T = K * (K + 1) / 2, WIDTH = K + T + 1;
  vec sums[BLOCK] = {};
  for (int j = 0; j < n; ++j, rows += WIDTH)
#pragma GCC unroll 4
    for (int u = 0; u < BLOCK; ++u) {
      vec d[K], s[T];
      for (int k = 0; k < K; ++k) d[k] = *(const vec*)(lanes + k * stride + u * LANES) - rows[k];
      for (int q = 0; q < T; ++q) s[q] = *(const vec*)(lanes + (K + q) * stride + u * LANES) + rows[K + q];
      sums[u] += rows[K + T] * gaussian(d, s);
    }
  double total = 0.0;
  for (int u = 0; u < BLOCK; ++u)
    for (int i = 0; i < LANES; ++i) total += sums[u][i] * lanes[(K + T) * stride + u * LANES + i];
  return total;
}

template <int K>
void pack(const double* w, const double* mu, const double* cov, int j, double* row, int step) {
  for (int k = 0; k < K; ++k, row += step) *row = mu[j * K + k];
  for (int k = 0; k < K; ++k)
    for (int m = 0; m <= k; ++m, row += step) *row = cov[(j * K + k) * K + m];
  *row = w[j];
}

// <a_m, b_m> of mixtures (M, N), without the factor (2 pi)^(-K / 2).
template <int K>
void product(const double* wa, const double* mua, const double* cova, const double* wb, const double* mub,
             const double* covb, double* out, int M, int N) {
  constexpr int WIDTH = K + K * (K + 1) / 2 + 1, STEP = BLOCK * LANES;
  const int blocks = (N + STEP - 1) / STEP, parts = M >= 16 ? 1 : 8;
  std::vector<double> found(size_t(M) * parts, 0.0);
#pragma omp parallel
  {
    std::vector<double> rows(size_t(N) * WIDTH), lanes(WIDTH * STEP);
#pragma omp for schedule(dynamic)
    for (int task = 0; task < M * parts; ++task) {
      const size_t m = task / parts, at = m * N;
      const int part = task % parts;
      for (int j = 0; j < N; ++j)
        pack<K>(wb + at, mub + at * K, covb + at * K * K, j, rows.data() + size_t(j) * WIDTH, 1);
      for (int b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
        for (int i = 0; i < STEP; ++i) {
          const int j = b * STEP + i < N ? b * STEP + i : N - 1;
          pack<K>(wa + at, mua + at * K, cova + at * K * K, j, lanes.data() + i, STEP);
          if (b * STEP + i >= N) lanes[(WIDTH - 1) * STEP + i] = 0.0;
        }
        found[task] += form_of_block<K>(lanes.data(), STEP, rows.data(), N);
      }
    }
  }
  for (int m = 0; m < M; ++m) {
    out[m] = 0.0;
    for (int part = 0; part < parts; ++part) out[m] += found[size_t(m) * parts + part];
  }
}

}  // namespace

extern "C" {
void product_2(const double* wa, const double* mua, const double* cova, const double* wb, const double* mub,
               const double* covb, double* out, int M, int N) {
  product<2>(wa, mua, cova, wb, mub, covb, out, M, N);
}
void product_3(const double* wa, const double* mua, const double* cova, const double* wb, const double* mub,
               const double* covb, double* out, int M, int N) {
  product<3>(wa, mua, cova, wb, mub, covb, out, M, N);
}
void copy(const char* from, char* to, int64_t bytes) {
  const int64_t piece = 1 << 18;
#pragma omp parallel for schedule(static)
  for (int64_t first = 0; first < bytes; first += piece)
    std::memcpy(to + first, from + first, bytes - first < piece ? bytes - first : piece);
}
}
