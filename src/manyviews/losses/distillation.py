"""Losses that bring one network's view of the world to another's."""

import torch.nn.functional as F
from torch import Tensor

from manyviews.losses.precision import full_precision


@full_precision
def similarity_kl(
    student: Tensor,
    teacher: Tensor,
    anchors: Tensor,
    *,
    temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """How far the student's likenesses to a set of anchors are from the teacher's.

    The mean over samples of KL(softmax(t . A / T_t) || softmax(s . A / T_s)). With anchors that
    are class weights or prototypes this is Hinton's distillation of softened logits, not
    multiplied by T squared; with a queue of the teacher's embeddings it is SEED's and CompRess'.

    Args:
        student: [B, D] unit vectors, in the teacher's space.
        teacher: [B, D] unit vectors; no gradient flows to them.
        anchors: [K, D] unit vectors; no gradient flows to them.
        temperature: T_s.
        teacher_temperature: T_t.

    Returns:
        Scalar of 0 or more; the mean over this rank's samples. Under autocast float32.

    Source: Hinton et al. 2015, section 2; Fang et al. 2021 (SEED), equation 5; Koohpayegani et al.
    2020 (CompRess), equation 3.
    """
    anchors = anchors.detach().to(student.dtype)
    log_p = (student @ anchors.T / temperature).log_softmax(dim=1)
    teacher = teacher.detach().to(student.dtype)
    target = (teacher @ anchors.T / teacher_temperature).log_softmax(dim=1)
    return F.kl_div(log_p, target, reduction="batchmean", log_target=True)


@full_precision
def token_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """One less the cosine of each pair of tokens, averaged over samples and places.

    Args:
        student: [B, N, D].
        teacher: [B, N, D]; no gradient flows to them.

    Returns:
        Scalar in [0, 2]; the mean over this rank's samples. Under autocast float32.
    """
    return 1 - F.cosine_similarity(student, teacher.detach().to(student.dtype), dim=-1).mean()
