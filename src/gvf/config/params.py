"""All of `params.yaml`: one section per stage and model, and those that all stages share."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from gvf.config.collect import CollectConfig
from gvf.config.curate import CurateConfig
from gvf.config.evaluate import EvaluateConfig
from gvf.config.execution import ExecutionConfig
from gvf.config.featurize import FeaturizeConfig
from gvf.config.fields import STRICT
from gvf.config.image_to_3d import ImageTo3dConfig
from gvf.config.render import RenderConfig
from gvf.config.report import ReportConfig
from gvf.config.run import RunConfig
from gvf.config.sample import SampleConfig
from gvf.config.slat_flow import SlatFlowConfig
from gvf.config.ss_flow import SsFlowConfig
from gvf.config.ss_vae import SsVaeConfig
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.tracking import TrackingConfig
from gvf.config.train_appearance import TrainAppearanceConfig
from gvf.config.train_dit import TrainDitConfig
from gvf.config.train_structure import TrainStructureConfig
from gvf.config.train_vae_joint import TrainVaeJointConfig
from gvf.config.train_vae_static import TrainVaeStaticConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig

WITHOUT_EFFECT = ("execution", "tracking")
"""Sections that change no result: no stage of dvc.yaml depends on them, and no run is named after them."""


@dataclass(frozen=True, config=STRICT)
class Params:
    """Every setting of the pipeline. A section has the name of its stage or model, with underscores."""

    run: RunConfig
    execution: ExecutionConfig
    tracking: TrackingConfig
    collect: CollectConfig
    curate: CurateConfig
    render: RenderConfig
    featurize: FeaturizeConfig
    image_to_3d: ImageTo3dConfig
    static_vae: StaticVaeConfig
    variation_vae: VariationVaeConfig
    variation_dit: VariationDitConfig
    ss_vae: SsVaeConfig
    ss_flow: SsFlowConfig
    train_vae_static: TrainVaeStaticConfig
    train_vae_joint: TrainVaeJointConfig
    train_dit: TrainDitConfig
    slat_flow: SlatFlowConfig
    train_appearance: TrainAppearanceConfig
    train_structure: TrainStructureConfig
    sample: SampleConfig
    evaluate: EvaluateConfig
    report: ReportConfig
