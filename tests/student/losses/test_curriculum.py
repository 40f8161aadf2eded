"""The temperature that is learned."""

import pytest
import torch

from kdrec.student.losses import CurriculumTemperature, curriculum_scale, distillation_loss


def test_it_begins_as_published_and_stays_between_1_and_21() -> None:
    assert CurriculumTemperature()(0).item() == pytest.approx(1 + 20 / (1 + 2.718281828**-1))
    for theta, expected in ((-100.0, 1.0), (100.0, 21.0)):
        assert CurriculumTemperature(theta=theta)(0).item() == pytest.approx(expected)


def test_the_scale_falls_from_0_to_minus_1_along_a_cosine_and_stays() -> None:
    # Values of the published scheduler at its epochs 1, 5, 10 and 20, which count from 1.
    assert curriculum_scale(0, epochs=10) == pytest.approx(-0.0244717, abs=1e-6)
    assert curriculum_scale(4, epochs=10) == pytest.approx(-0.5)
    assert curriculum_scale(9, epochs=10) == curriculum_scale(19, epochs=10) == -1.0


def test_it_climbs_the_loss_that_the_student_descends() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, generator=generator)
    temperature = CurriculumTemperature(theta=-2.0)
    optimizer = torch.optim.SGD(temperature.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = distillation_loss(student, teacher, temperature=temperature(99)).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses)
    assert losses[-1] > losses[0]


def test_its_gradient_is_the_plain_one_times_the_scale() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    curriculum = CurriculumTemperature(epochs=4)
    torch.autograd.backward(distillation_loss(student, teacher, temperature=curriculum(1)).sum())
    theta = torch.tensor(1.0, requires_grad=True)
    plain = distillation_loss(student, teacher, temperature=1 + 20 * theta.sigmoid())
    torch.autograd.backward(plain.sum())
    assert theta.grad is not None
    torch.testing.assert_close(curriculum.theta.grad, theta.grad * -0.5)
