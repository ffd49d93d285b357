"""Laws that operations on mixtures obey, as functions that raise AssertionError: use them on your own code.

A law takes mixtures, points and numbers, and as keywords the functions under test, by default gmengine's own:
``evaluation_is_linear(a, b, points, 2.0, evaluate=my_evaluate)``. A law about "a map" takes
``fn: Mixture -> Mixture`` and holds for `relu`, `reduce` and their like. Functions that know no `Mixture` are
wrapped by `on_mixtures`. "Close" has the sense of `gmengine.testing.TOLERANCES`; `condition` bounds the
condition numbers of the covariances. `gmengine.testing.audit` runs all laws that apply to a set of functions.

| subject | module |
|---|---|
| values, integrals, amplitudes | `laws.evaluation` |
| slopes and curvatures with respect to the point | `laws.derivatives` |
| convolution | `laws.convolution` |
| maps, translation, scale, affine maps, validity | `laws.maps` |
| the dense fit of a rectified mixture | `laws.relu` |
| fewer components; convolution fused with reduction | `laws.reductions` |
| inner products and distances | `laws.products` |
| moments, marginals, conditionals | `laws.moments` |
| hand-written gradients | `laws.gradients` |
| inputs, dtypes, precision, repetition, files | `laws.contracts` |
| radix trees | `laws.trees` |
| whole networks | `laws.networks` |
"""

from gmengine.testing.laws._common import (
    channelwise,
    on_mixtures,
    padded,
    permuted,
    spread,
)
from gmengine.testing.laws.contracts import (
    calls_repeat_to_the_bit,
    dtype_is_kept,
    implementations_agree,
    inputs_stay_unchanged,
    layout_does_not_matter,
    results_stay_unchanged,
    round_trips,
    single_precision_agrees,
)
from gmengine.testing.laws.convolution import (
    convolution_adds_moments,
    convolution_associates,
    convolution_commutes,
    convolution_follows_its_formula,
    convolution_follows_translation,
    convolution_ignores_absent,
    convolution_is_linear,
    convolution_is_that_of_samples,
    convolution_multiplies_integrals,
    convolution_with_a_point_translates,
)
from gmengine.testing.laws.derivatives import (
    curvatures_are_those_of_differences,
    curvatures_follow_their_formula,
    slopes_are_those_of_differences,
    slopes_follow_their_formula,
)
from gmengine.testing.laws.evaluation import (
    amplitudes_round_trip,
    components_sum_to_the_value,
    evaluation_broadcasts,
    evaluation_follows_its_formula,
    evaluation_follows_rotation,
    evaluation_follows_scale,
    evaluation_follows_translation,
    evaluation_ignores_absent,
    evaluation_ignores_order,
    evaluation_is_exact_far_from_the_origin,
    evaluation_is_linear,
    quadrature_gives_the_integral,
    the_integral_is_the_sum_of_weights,
)
from gmengine.testing.laws.gradients import (
    absent_gradients_are_zero,
    covariance_gradients_are_symmetric,
    gradient_is_that_of_differences,
    gradients_agree_in_single_precision,
)
from gmengine.testing.laws.maps import (
    affine_maps_push_forward,
    map_follows_scale,
    map_follows_translation,
    map_ignores_absent,
    map_ignores_order,
    map_is_exact_far_from_the_origin,
    map_is_homogeneous,
    map_treats_mixtures_alone,
    mixtures_are_valid,
    scale_stretches_space,
    translation_moves_means,
)
from gmengine.testing.laws.moments import (
    conditionals_are_slices,
    conditionals_follow_their_formula,
    marginals_integrate_the_others_out,
    moments_follow_their_formula,
    moments_follow_translation,
)
from gmengine.testing.laws.networks import (
    losses_of,
    network_gradient_is_that_of_differences,
    network_ignores_absent,
    network_ignores_order,
    network_ignores_place,
    same_seed_gives_same_losses,
    samples_are_judged_alone,
)
from gmengine.testing.laws.products import (
    distance_follows_from_products,
    distance_is_a_metric,
    product_follows_its_formula,
    product_follows_scale,
    product_is_linear,
    product_is_symmetric,
    product_is_that_of_quadrature,
)
from gmengine.testing.laws.reductions import (
    fusion_conserves_moments,
    fusion_is_the_composition,
    fusion_keeps_what_fits,
    has_exactly,
    moments_are_conserved,
    reduction_conserves_moments,
    reduction_gives_valid_mixtures,
    reduction_has_exactly,
    reduction_is_that_of_recursion,
    reduction_keeps_what_fits,
)
from gmengine.testing.laws.relu import (
    relu_follows_its_formula,
    relu_is_homogeneous,
    relu_is_not_negative,
    relu_keeps_places,
    relu_of_far_components_is_theirs_alone,
    relu_of_one_component_has_a_closed_form,
    relu_without_epsilons_keeps_what_is_positive,
)
from gmengine.testing.laws.trees import (
    selection_covers_every_leaf_once,
    tree_is_sound,
    tree_is_that_of_sorting,
)

__all__ = [
    "absent_gradients_are_zero",
    "affine_maps_push_forward",
    "amplitudes_round_trip",
    "calls_repeat_to_the_bit",
    "channelwise",
    "components_sum_to_the_value",
    "conditionals_are_slices",
    "conditionals_follow_their_formula",
    "convolution_adds_moments",
    "convolution_associates",
    "convolution_commutes",
    "convolution_follows_its_formula",
    "convolution_follows_translation",
    "convolution_ignores_absent",
    "convolution_is_linear",
    "convolution_is_that_of_samples",
    "convolution_multiplies_integrals",
    "convolution_with_a_point_translates",
    "covariance_gradients_are_symmetric",
    "curvatures_are_those_of_differences",
    "curvatures_follow_their_formula",
    "distance_follows_from_products",
    "distance_is_a_metric",
    "dtype_is_kept",
    "evaluation_broadcasts",
    "evaluation_follows_its_formula",
    "evaluation_follows_rotation",
    "evaluation_follows_scale",
    "evaluation_follows_translation",
    "evaluation_ignores_absent",
    "evaluation_ignores_order",
    "evaluation_is_exact_far_from_the_origin",
    "evaluation_is_linear",
    "fusion_conserves_moments",
    "fusion_is_the_composition",
    "fusion_keeps_what_fits",
    "gradient_is_that_of_differences",
    "gradients_agree_in_single_precision",
    "has_exactly",
    "implementations_agree",
    "inputs_stay_unchanged",
    "layout_does_not_matter",
    "losses_of",
    "map_follows_scale",
    "map_follows_translation",
    "map_ignores_absent",
    "map_ignores_order",
    "map_is_exact_far_from_the_origin",
    "map_is_homogeneous",
    "map_treats_mixtures_alone",
    "marginals_integrate_the_others_out",
    "mixtures_are_valid",
    "moments_are_conserved",
    "moments_follow_their_formula",
    "moments_follow_translation",
    "network_gradient_is_that_of_differences",
    "network_ignores_absent",
    "network_ignores_order",
    "network_ignores_place",
    "on_mixtures",
    "padded",
    "permuted",
    "product_follows_its_formula",
    "product_follows_scale",
    "product_is_linear",
    "product_is_symmetric",
    "product_is_that_of_quadrature",
    "quadrature_gives_the_integral",
    "reduction_conserves_moments",
    "reduction_gives_valid_mixtures",
    "reduction_has_exactly",
    "reduction_is_that_of_recursion",
    "reduction_keeps_what_fits",
    "relu_follows_its_formula",
    "relu_is_homogeneous",
    "relu_is_not_negative",
    "relu_keeps_places",
    "relu_of_far_components_is_theirs_alone",
    "relu_of_one_component_has_a_closed_form",
    "relu_without_epsilons_keeps_what_is_positive",
    "results_stay_unchanged",
    "round_trips",
    "same_seed_gives_same_losses",
    "samples_are_judged_alone",
    "scale_stretches_space",
    "selection_covers_every_leaf_once",
    "single_precision_agrees",
    "slopes_are_those_of_differences",
    "slopes_follow_their_formula",
    "spread",
    "the_integral_is_the_sum_of_weights",
    "translation_moves_means",
    "tree_is_sound",
    "tree_is_that_of_sorting",
]
